/**
 * How much is looked at: `quick` compares the tables with what they must be, and
 * `es` with the tables; `structure` goes through the figures of every stream;
 * `deep` reads every block, decodes it and checks hashes and the chain of
 * headers.
 */
export type VerifyLevel = "quick" | "structure" | "deep";
