// What the consumer's import map gives for p-retry: the package must not get it.
throw new Error("The package was given its user's p-retry");
