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
    text: `SELECT latest_snapshot_miniblock, -ascii(blockdata_ext)::int8,
        NULL::bytea, NULL::bytea
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

function miniblocksText(t: StreamTables, snapshot: string): string {
  return `SELECT 0,
      (EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num = $2 - 1)::int4
        + 2 * EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num < $2)::int4)::int8,
      NULL::bytea, NULL::bytea, blockdata_ext::text
    FROM ${t.streams} WHERE stream_id = $1
    UNION ALL (
      SELECT 1, seq_num, blockdata, ${snapshot}, NULL
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num)`;
}

/**
 * Where a page of the blocks $2 to $3 ends: the last block that still fits
 * into $4 bytes, at least one. Sizes are known without reading the data. Null:
 * nothing is left.
 */
export const selectPageEnd = (t: StreamTables) =>
  statement({
    text: `SELECT max(seq_num) FROM (
        SELECT seq_num, sum(octet_length(blockdata)
            + CASE WHEN $5 THEN 0 ELSE coalesce(octet_length(snapshot), 0) END)
            OVER (ORDER BY seq_num) AS bytes,
          row_number() OVER (ORDER BY seq_num) AS nth
        FROM (SELECT seq_num, blockdata, snapshot FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
          ORDER BY seq_num LIMIT 1024) AS blocks) AS sizes
      WHERE bytes <= $4 OR nth = 1`,
    params: ["bpchar", "int8", "int8", "int8", "bool"],
    columns: ["int8?"],
  });

/** The number of the last block, and whether it is a genesis without data. */
export const selectLastMiniblock = (t: StreamTables) =>
  statement({
    text: `SELECT block.seq_num,
        block.seq_num = 0 AND block.size = 0
      FROM ${t.streams} AS es
      LEFT JOIN LATERAL (
        SELECT seq_num, octet_length(blockdata) AS size FROM ${t.miniblocks}
        WHERE stream_id = $1 ORDER BY seq_num DESC LIMIT 1) AS block ON true
      WHERE es.stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8?", "bool?"],
  });

/**
 * Every block's number and whether a snapshot stands beside it; none of what
 * an earlier stream has left behind.
 */
export const selectMiniblockNumbers = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, coalesce(octet_length(snapshot) > 0, false)
      FROM ${t.miniblocks} WHERE stream_id = $1
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num`,
    params: ["bpchar"],
    columns: ["int8", "bool"],
  });

/**
 * The data of those of the blocks $2 to $3 that have no snapshot beside them,
 * to be searched for one inside.
 */
export const selectMiniblockData = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
        AND NOT coalesce(octet_length(snapshot) > 0, false)
      ORDER BY seq_num`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "bytea"],
  });
