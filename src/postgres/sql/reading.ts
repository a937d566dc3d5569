/**
 * The reads that serve streams: one statement each, so one consistent
 * snapshot, no lock and one round trip.
 *
 * Where rows of several kinds come from one statement, the parts of a UNION
 * ALL are returned one after another, each in its own order; a sort over all
 * of it would move every block through the server's sort memory.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * The slot of a block's row in {@linkcode selectStream}. Kinds of rows are told
 * apart by their slot, because a column more costs 0.2 µs a row: the minipool's
 * are -1 and up, the stream's is below this one.
 */
export const miniblockSlot = -2n;

/**
 * The stream's row (number: latest snapshot, slot: minus the character of
 * blockdata_ext), then its blocks from $2 before the latest snapshot on, then
 * its minipool (number, slot). A block inside the range but before a gap is
 * left to the reader. Without a stream, what an earlier one has left.
 */
export const selectStream = (t: StreamTables) =>
  statement({
    text: `SELECT latest_snapshot_miniblock,
        -pg_catalog.ascii(blockdata_ext)::bigint,
        NULL::pg_catalog.bytea, NULL::pg_catalog.bytea
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (
        SELECT seq_num, -2, blockdata, snapshot FROM ${t.miniblocks}
        WHERE stream_id = $1 AND seq_num >= (
          SELECT greatest(latest_snapshot_miniblock, 0) - $2
          FROM ${t.streams} WHERE stream_id = $1)
        ORDER BY seq_num)
      UNION ALL (
        SELECT generation, slot_num, envelope, NULL FROM ${t.minipools}
        WHERE stream_id = $1 ORDER BY generation, slot_num)`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8", "bytea?", "bytea?"],
  });

/**
 * The stream's row (number: bit 0, a block $2 - 1 is stored; bit 1, any block
 * below $2 is), then the blocks from $2 up to but without $3.
 */
export const selectMiniblocks = (t: StreamTables) =>
  statement({
    text: miniblocksText(t, "snapshot"),
    params: ["bpchar", "int8", "int8"],
    columns: ["int4", "int8", "bytea?", "bytea?", "text?"],
  });

/** The same without the snapshots, which then are not read at all. */
export const selectMiniblocksWithoutSnapshots = (t: StreamTables) =>
  statement({
    text: miniblocksText(t, "NULL"),
    params: ["bpchar", "int8", "int8"],
    columns: ["int4", "int8", "bytea?", "bytea?", "text?"],
  });

/** Bit 0: a block $2 - 1 is stored; bit 1: any block below $2 is. */
function neighbours(t: StreamTables): string {
  return `(EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num = $2 - 1)::int
        + 2 * EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num < $2)::int)::bigint`;
}

function miniblocksText(t: StreamTables, snapshot: string): string {
  return `SELECT 0,
      ${neighbours(t)},
      NULL::pg_catalog.bytea, NULL::pg_catalog.bytea,
      blockdata_ext::pg_catalog.text
    FROM ${t.streams} WHERE stream_id = $1
    UNION ALL (
      SELECT 1, seq_num, blockdata, ${snapshot}, NULL
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num)`;
}

/** Blocks that a page looks at, whatever their sizes. */
const maxPageBlocks = 1024;

/**
 * {@linkcode selectMiniblocks} for a page: of the blocks $2 to $3 the first
 * ones that together fit into $4 bytes, at least one; with $5 without their
 * snapshots. If there are more, the next one follows as a row of kind
 * {@linkcode pageRowKind.next} with nothing but its number.
 *
 * Sizes are known without reading the data: of a large value the row holds no
 * more than where it is, and that is all that passes through the windows.
 */
export const selectMiniblocksPage = (t: StreamTables) =>
  statement({
    text: `SELECT 0, ${neighbours(t)}, NULL::pg_catalog.bytea,
        NULL::pg_catalog.bytea, blockdata_ext::pg_catalog.text
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (
        SELECT CASE WHEN fits THEN 1 ELSE 2 END, seq_num,
          CASE WHEN fits THEN blockdata END,
          CASE WHEN fits AND NOT $5 THEN snapshot END, NULL
        FROM (
          SELECT seq_num, blockdata, snapshot, nth, bytes - size AS before,
            (nth = 1 OR bytes <= $4) AND nth < ${maxPageBlocks} AS fits
          FROM (
            SELECT seq_num, blockdata, snapshot, size,
              pg_catalog.sum(size) OVER numbered AS bytes,
              pg_catalog.row_number() OVER numbered AS nth
            FROM (
              SELECT seq_num, blockdata, snapshot,
                pg_catalog.octet_length(blockdata) + CASE WHEN $5 THEN 0 ELSE
                  coalesce(pg_catalog.octet_length(snapshot), 0) END AS size
              FROM ${t.miniblocks}
              WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
                AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
              ORDER BY seq_num LIMIT ${maxPageBlocks}) AS block
            WINDOW numbered AS (
              ORDER BY seq_num ROWS UNBOUNDED PRECEDING)) AS sized) AS page
        WHERE nth = 2 OR before <= $4
        ORDER BY seq_num)`,
    params: ["bpchar", "int8", "int8", "int8", "bool"],
    columns: ["int4", "int8", "bytea?", "bytea?", "text?"],
  });

/** The kinds of rows in {@linkcode selectMiniblocksPage}. */
export const pageRowKind = { stream: 0, miniblock: 1, next: 2 } as const;

/**
 * The number of the last block, whether it is a genesis without data, and
 * where the stream's blocks are.
 */
export const selectLastMiniblock = (t: StreamTables) =>
  statement({
    text: `SELECT block.seq_num,
        block.seq_num = 0 AND block.size = 0, es.blockdata_ext::pg_catalog.text
      FROM ${t.streams} AS es
      LEFT JOIN LATERAL (
        SELECT seq_num, pg_catalog.octet_length(blockdata) AS size
        FROM ${t.miniblocks} WHERE stream_id = $1
        ORDER BY seq_num DESC LIMIT 1) AS block ON true
      WHERE es.stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8?", "bool?", "text"],
  });

/**
 * Every block's number and whether a snapshot stands beside it; none of what
 * an earlier stream has left behind, nor of a stream in object storage.
 */
export const selectMiniblockNumbers = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num,
        coalesce(pg_catalog.octet_length(snapshot) > 0, false)
      FROM ${t.miniblocks} WHERE stream_id = $1
        AND EXISTS (SELECT 1 FROM ${t.streams}
          WHERE stream_id = $1 AND blockdata_ext = 'D')
      ORDER BY seq_num`,
    params: ["bpchar"],
    columns: ["int8", "bool"],
  });
