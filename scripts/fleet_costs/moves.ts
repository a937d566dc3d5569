/**
 * How long a store takes to be distributed, and to move to another worker node.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Node } from "./nodes.ts";

/** How Citus is asked to copy. */
export type TransferMode = "force_logical" | "block_writes";

/** Makes Citus the keeper of a schema's tables; seconds. */
export async function distribute(first: Node, schema: string): Promise<number> {
  await first.rows("SET citus.enable_unsafe_triggers = on");
  return await timed(() =>
    first.rows("SELECT citus_schema_distribute($1::text::regnamespace)", [
      quoted(schema),
    ])
  );
}

/** A move leads nowhere where one before has left something. */
async function cleanUp(first: Node): Promise<void> {
  for (;;) {
    await first.rows("CALL citus_cleanup_orphaned_resources()");
    const { left } = await first.row<{ left: number }>(
      "SELECT count(*)::int AS left FROM pg_dist_cleanup",
    );
    if (left === 0) return;
    await delay(500);
  }
}

/** Moves the schema to the other of two worker nodes; seconds. */
export async function moveAway(
  first: Node,
  schema: string,
  mode: TransferMode,
): Promise<number> {
  await cleanUp(first);
  const target = await first.row<{ nodename: string; nodeport: number }>(
    `SELECT nodename, nodeport FROM pg_dist_node AS n
      WHERE groupid > 0 AND noderole = 'primary' AND groupid NOT IN (
        SELECT p.groupid FROM pg_dist_placement AS p
        JOIN pg_dist_shard AS s USING (shardid)
        JOIN pg_class AS c ON c.oid = s.logicalrelid
        WHERE c.relnamespace = $1::text::regnamespace)
      LIMIT 1`,
    [quoted(schema)],
  );
  return await timed(() =>
    first.rows(
      `SELECT citus_schema_move($1::text::regnamespace, $2, $3,
        $4::text::citus.shard_transfer_mode)`,
      [quoted(schema), target.nodename, target.nodeport, mode],
    )
  );
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}
