/**
 * Decides which streams are an archiver's. No column of `es` says so. An
 * archive stream has no minipool, but neither has a regular stream that has
 * lost its marker.
 */

import { extentOf, isContiguous, type StreamFacts } from "./facts.ts";

/**
 * `all`, `none`, or `by_rows`: a stream without a minipool is an archive
 * stream, unless it has something that only a regular stream can have.
 */
export type ArchivePolicy = "all" | "none" | "by_rows";

/** The names of their schemas distinguish nodes from archivers. */
export function archivePolicyOf(schema: string): ArchivePolicy {
  if (/^s0x[0-9a-f]{40}$/.test(schema)) return "none";
  return schema.startsWith("arch") ? "all" : "by_rows";
}

/**
 * An archive stream's blocks begin at 0 and have no gap. Its latest snapshot
 * never moves, it has no candidates, and its row was written before its first
 * block.
 */
export function isArchive(facts: StreamFacts, policy: ArchivePolicy): boolean {
  const { stream, minipool, candidates } = facts;
  if (stream === undefined || stream.ephemeral) return false;
  if (stream.location !== "D") return false;
  if (policy !== "by_rows") return policy === "all";
  const blocks = extentOf(facts);
  return minipool.n === 0n && candidates.n === 0n && stream.latest <= 0n &&
    !facts.isMadeWhole &&
    (blocks.n === 0n || (blocks.first === 0n && isContiguous(blocks)));
}
