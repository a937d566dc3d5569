/**
 * What every flush on a cluster begins with: it may only be done where the schema
 * lives.
 *
 * A move copies the shards to another server, keeps up with what is written
 * meanwhile, then takes the lock on the schema's placement, copies the rest and
 * changes the placement. The old copies stay for a while, and take what is written
 * to them: without the guard that would be acknowledged and lost.
 *
 * The guard of a write
 * 1. An UPDATE of no row through the name of a distributed table. Citus takes the
 *    lock on the schema's placement for it, shared, until the transaction ends. So
 *    a move that changes the placement waits for this write, or this write for it.
 * 2. A look at the placement. It is a statement of its own, for it must see what
 *    was committed before the lock was granted. For the same reason a store on a
 *    cluster runs at READ COMMITTED.
 * So a write that has passed is in the old copy before the rest of it is copied,
 * and one that comes later is refused: nothing of it is done.
 *
 * The guard of a read is the look alone. From the change of the placement on no
 * guarded write changes the old copy, so whatever a read behind the look finds was
 * the last state at some moment of that read.
 */

import { PgError } from "../pg_error.ts";
import { rejectionOf, rejectSql } from "../rejection.ts";
import { bind, type Bound, statement } from "../statement.ts";

/** The reason of the rejection when the schema is not here. */
export const movedReason = "schema_moved";

/** Statements to put in front of others. */
export interface Guard {
  readonly read: readonly Bound[];
  readonly write: readonly Bound[];
}

/**
 * Stops the transaction unless the shard $1 is on this server; $2 comes back with
 * the refusal.
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
 * The guard for a shard. `table` is the quoted name of a distributed table of the
 * schema: of the workers' rows, a table that nobody locks as a whole.
 */
export function guardOf(table: string, shard: bigint, era: number): Guard {
  const touch = statement({
    text: `UPDATE ${table} SET updated_at = updated_at
      WHERE name::pg_catalog.text = ''`,
  });
  const check = bind(checkPlacement, shard, BigInt(era));
  return { read: [check], write: [bind(touch), check] };
}

/** The era of the guard that has refused; undefined: it was none. */
export function refusedEra(error: unknown): number | undefined {
  const rejection = rejectionOf(error);
  if (rejection?.reason !== movedReason) return undefined;
  return Number(rejection.figures.era ?? -1n);
}

/** What an old copy is missing once it was dropped: a table, a schema. */
export function isMissing(error: unknown): boolean {
  return error instanceof PgError &&
    (error.sqlState === "42P01" || error.sqlState === "3F000");
}
