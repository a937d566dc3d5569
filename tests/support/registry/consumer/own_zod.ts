// What the consumer's import map gives for zod: the package must not get it.
throw new Error("The package was given its user's zod");
