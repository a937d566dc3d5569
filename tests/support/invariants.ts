import assert from "node:assert/strict";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { Catalog, type StreamTables } from "../../src/postgres/catalog.ts";
import { partitionSuffixes } from "../../src/database/migrations/plan.ts";

/** A store's tables. */
export interface Ground {
  schema: string;
  partitions: number;
}

/**
 * Checks the invariants of the contract in SQL, over every stream of a schema.
 * The error has a line for each broken one. SQL can't see legacy snapshots, so
 * no stream may rely on one.
 */
export async function assertInvariants(
  session: Session,
  { schema, partitions }: Ground,
): Promise<void> {
  const catalog = new Catalog(schema, partitions);
  const broken: string[] = [];
  const ids = await session.script(
    `SELECT stream_id FROM ${catalog.table("es")}`,
  );
  const streams = Map.groupBy(
    ids.map(([id]) => id as StreamId),
    (id) => catalog.tablesOf(id).suffix,
  );
  for (const suffix of partitionSuffixes(partitions)) {
    const [{ rows }] = await session.run([
      bind(checkOf(catalog.tablesAt(suffix)), streams.get(suffix) ?? []),
    ]);
    broken.push(...rows.map(([line]) => line));
  }
  assert.deepEqual(broken, []);
}

function checkOf(t: StreamTables) {
  // Of a stream in object storage the database has only the blocks' places.
  const blocks = !t.suffix.startsWith("m")
    ? t.miniblocks
    : `(SELECT stream_id, seq_num FROM ${t.miniblocks} UNION ALL
        SELECT stream_id, seq_num FROM ${t.external})`;
  return statement({
    once: true,
    params: ["bpchar[]"],
    columns: ["text"],
    text: `WITH streams AS (
        SELECT es.stream_id, es.ephemeral, es.latest_snapshot_miniblock AS latest,
          (SELECT max(seq_num) FROM ${blocks} b
            WHERE b.stream_id = es.stream_id) AS last,
          (SELECT count(*) FROM ${t.minipools} p
            WHERE p.stream_id = es.stream_id) AS rows
        FROM ${t.streams} es WHERE es.stream_id = ANY($1)),
      kept AS (SELECT stream_id FROM ${t.miniblocks}
        UNION SELECT stream_id FROM ${t.minipools}
        UNION SELECT stream_id FROM ${t.candidates})
      SELECT 'rows without a stream: ' || stream_id FROM kept
        WHERE stream_id NOT IN (SELECT stream_id FROM ${t.streams})
      UNION ALL SELECT 'no miniblock but a minipool: ' || s.stream_id
        FROM streams s WHERE last IS NULL AND rows > 0
      UNION ALL SELECT 'ephemeral with a minipool: ' || s.stream_id
        FROM streams s WHERE ephemeral AND rows > 0
      UNION ALL SELECT 'minipool of another generation: ' || s.stream_id
        FROM streams s JOIN ${t.minipools} p USING (stream_id)
        WHERE p.generation <> s.last + 1
      UNION ALL SELECT 'hole in the minipool: ' || s.stream_id
        FROM streams s JOIN ${t.minipools} p USING (stream_id)
        GROUP BY s.stream_id HAVING min(slot_num) <> -1
          OR max(slot_num) <> count(*) - 2
      UNION ALL SELECT 'latest snapshot is not stored: ' || s.stream_id
        FROM streams s WHERE latest > 0 AND NOT EXISTS (
          SELECT 1 FROM ${t.miniblocks} b WHERE b.stream_id = s.stream_id
            AND seq_num = latest AND octet_length(snapshot) > 0)
      UNION ALL SELECT 'gap after the latest snapshot: ' || s.stream_id
        FROM streams s WHERE latest > 0 AND (
          SELECT count(*) FROM ${t.miniblocks} b WHERE b.stream_id = s.stream_id
            AND seq_num >= latest) <> last - latest + 1`,
  });
}
