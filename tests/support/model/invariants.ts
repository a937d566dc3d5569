/**
 * The four invariants of the contract in SQL, over all partitions, for streams
 * that only operations have changed. Further rules: every row belongs to a stream
 * and is in the partition of its id, and exactly the ephemeral streams have an
 * age.
 */
import type { Session } from "../../../src/database/session.ts";
import { partitionSuffixes } from "../../../src/database/migrations/plan.ts";
import { bind, statement } from "../../../src/database/statement.ts";
import { Catalog, type StreamTables } from "../../../src/postgres/catalog.ts";
import { hasLegacySnapshot } from "../../../src/storage/miniblock_proto.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { Ground } from "../invariants.ts";

/** Finds the invariants that these streams break, a line for each. */
export type InvariantCheck = (
  streamIds: readonly StreamId[],
) => Promise<string[]>;

/** Prepares the check for a schema. */
export function invariantCheck(
  session: Session,
  { schema, partitions }: Ground,
): InvariantCheck {
  const catalog = new Catalog(schema, partitions);
  const select = statement({
    text: violations(
      partitionSuffixes(partitions).map((suffix) => catalog.tablesAt(suffix)),
    ),
    params: ["bpchar[]", "bpchar[]"],
    columns: ["text", "bpchar", "bytea?"],
  });
  return async (streamIds) => {
    const suffixes = streamIds.map((id) => catalog.tablesOf(id).suffix);
    const [{ rows }] = await session.run([bind(select, streamIds, suffixes)]);
    // SQL can't read a block, so these rows are only suspects.
    return rows.filter(([, , data]) =>
      data === null || !hasLegacySnapshot(data)
    )
      .map(([rule, streamId]) => `${rule}: ${streamId}`);
  };
}

/** The facts of each stream that the rules compare. */
function streamFacts(t: StreamTables): string {
  return `minipool AS (
      SELECT stream_id, count(*) AS size, min(generation) AS oldest,
        max(generation) AS newest, min(slot_num) AS lowest,
        max(slot_num) AS highest,
        bool_or(slot_num >= 0 AND coalesce(octet_length(envelope), 0) = 0)
          AS hollow
      FROM event GROUP BY stream_id),
    stream AS (
      SELECT es.stream_id, ephemeral, latest_snapshot_miniblock AS latest,
        created_at AS age,
        first, last, size, oldest, newest, lowest, highest, hollow
      FROM ${t.streams} AS es
      LEFT JOIN last_run USING (stream_id)
      LEFT JOIN minipool USING (stream_id)
      LEFT JOIN ${t.ephemeralAges} USING (stream_id)
      WHERE stream_id = ANY($1))`;
}

function violations(tables: readonly StreamTables[]): string {
  const all = (columns: string, table: keyof StreamTables) =>
    tables.map((t) =>
      `SELECT '${t.suffix}' AS suffix, stream_id, ${columns} FROM ${t[table]}
        WHERE stream_id = ANY($1)`
    ).join(" UNION ALL ");
  const rules = Object.entries(RULES).map(([rule, condition]) =>
    `SELECT '${rule}', stream_id, NULL::bytea FROM stream WHERE ${condition}`
  );
  return `WITH given AS (
      SELECT * FROM unnest($1, $2) AS given (stream_id, suffix)),
    block AS MATERIALIZED (${
    all("seq_num, blockdata, octet_length(snapshot) > 0 AS own", "miniblocks")
  }),
    event AS MATERIALIZED (${
    all("generation, slot_num, envelope", "minipools")
  }),
    candidate AS (${all("seq_num", "candidates")}),
    kept AS (SELECT suffix, stream_id FROM block
      UNION SELECT suffix, stream_id FROM event
      UNION SELECT suffix, stream_id FROM candidate),
    aged AS (SELECT stream_id FROM ${tables[0]!.ephemeralAges}
      WHERE stream_id = ANY($1)),
    numbered AS (
      SELECT stream_id, seq_num, seq_num - row_number()
        OVER (PARTITION BY stream_id ORDER BY seq_num) AS run FROM block),
    last_run AS (
      SELECT DISTINCT ON (stream_id) stream_id, min(seq_num) AS first,
        max(seq_num) AS last
      FROM numbered GROUP BY stream_id, run ORDER BY stream_id, run DESC),
    ${streamFacts(tables[0]!)}
    ${rules.join(" UNION ALL ")}
    UNION ALL SELECT 'rows without a stream', stream_id, NULL
      FROM (SELECT stream_id FROM kept UNION TABLE aged) AS row
      WHERE stream_id NOT IN (SELECT stream_id FROM stream)
    UNION ALL SELECT 'rows in partition ' || kept.suffix, stream_id, NULL
      FROM kept JOIN given USING (stream_id) WHERE kept.suffix <> given.suffix
    UNION ALL SELECT 'latest snapshot is none', stream_id, blockdata
      FROM stream JOIN block USING (stream_id)
      WHERE seq_num = latest AND latest > 0 AND own IS NOT TRUE`;
}

/**
 * Rules over the row of a stream, joined with its last run of blocks and its
 * minipool. A stream without a minipool is an archive or ephemeral.
 */
const RULES: Readonly<Record<string, string>> = {
  "no miniblock": "last IS NULL AND (ephemeral OR size > 0 OR latest <> 0)",
  "negative miniblock number": "first < 0",
  "age of a stream that is not ephemeral": "NOT ephemeral AND age IS NOT NULL",
  "ephemeral stream without an age": "ephemeral AND age IS NULL",
  "minipool of an ephemeral stream": "ephemeral AND size > 0",
  "minipool of another generation": "oldest - 1 <> last OR newest - 1 <> last",
  "hole in the minipool": "lowest <> -1 OR highest <> size - 2",
  "event without an envelope": "hollow",
  "snapshot without a minipool": "size IS NULL AND latest <> 0",
  "latest snapshot outside the last run":
    "NOT ephemeral AND (latest < first OR latest > last)",
};
