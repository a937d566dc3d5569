// The consumer's import map maps p-retry to this file; the package must not.
throw new Error("Expected the package to import its own p-retry");
