/**
 * How much is examined. `quick` compares the schema's tables with the required
 * ones, and `es` with the partitions' tables. `structure` also examines the figures of every stream.
 * `deep` also reads every block, decodes it and checks hashes and the chain of
 * headers.
 */
export type VerifyLevel = "quick" | "structure" | "deep";
