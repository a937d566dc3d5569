/**
 * The guard begins every flush on a cluster: the flush may run only where the
 * schema lives.
 *
 * A move copies the shards to another server and follows the writes made
 * meanwhile. Then it takes the lock on the schema's placement, copies the rest
 * and changes the placement. The old copies stay for a while, and still accept
 * writes: without the guard, those would be acknowledged and lost.
 *
 * The guard of a write
 * 1. An UPDATE of no row through the name of a distributed table. For it, Citus
 *    takes a shared lock on the schema's placement until the transaction ends.
 *    So a move that changes the placement waits for this write, or this write
 *    for the move.
 * 2. A look at the placement. It is a statement of its own, to see what was
 *    committed before the lock was granted. For the same reason the store runs
 *    at READ COMMITTED.
 * So a write that has passed is in the old copy before the rest of that is
 * copied, and a later write is refused without any effect.
 *
 * The guard of a read is only the look. Once the placement has changed, no
 * guarded write changes the old copy. So what a read finds after the look was
 * the last state at some moment during that read.
 */

import { PgError } from "../pg_error.ts";
import { rejectionOf, rejectSql } from "../rejection.ts";
import { bind, type Bound, statement } from "../statement.ts";

/** The reason of the rejection if the schema is not here. */
export const movedReason = "schema_moved";

/** Statements to put before others. */
export interface Guard {
  readonly read: readonly Bound[];
  readonly write: readonly Bound[];
}

/**
 * Stops the transaction unless the shard $1 is on this server; the refusal
 * carries $2.
 */
const checkPlacement = statement({
  text: `SELECT CASE WHEN NOT EXISTS (
      SELECT FROM pg_catalog.pg_dist_placement AS placement
      JOIN pg_catalog.pg_dist_local_group AS here
        ON here.groupid = placement.groupid
      WHERE placement.shardid = $1 AND placement.shardstate = 1)
    THEN ${rejectSql(movedReason, { era: "$2" })} END`,
  params: ["int8", "int8"],
  columns: ["int4?"],
});

/**
 * The guard for a shard. `table` is the quoted name of a distributed table of
 * the schema: that of the workers' rows, a table that nobody locks as a whole.
 */
export function guardOf(table: string, shard: bigint, era: number): Guard {
  const touch = statement({
    text: `UPDATE ${table} SET updated_at = updated_at
      WHERE name::pg_catalog.text = ''`,
  });
  const check = bind(checkPlacement, shard, BigInt(era));
  return { read: [check], write: [bind(touch), check] };
}

/** The era of the guard that refused; undefined if no guard did. */
export function refusedEra(error: unknown): number | undefined {
  const rejection = rejectionOf(error);
  if (rejection?.reason !== movedReason) return undefined;
  return Number(rejection.figures.era ?? -1n);
}

/** What a dropped old copy leads to: a missing table, or a missing schema. */
export function isMissing(error: unknown): boolean {
  return error instanceof PgError &&
    (error.sqlState === "42P01" || error.sqlState === "3F000");
}
