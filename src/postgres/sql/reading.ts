/**
 * The reads that serve streams. Each is one statement, and so takes one
 * consistent snapshot, no lock and one round trip.
 *
 * Where one statement returns rows of several kinds, it does so as the parts of
 * a UNION ALL, one after another, each in its own order. A sort over all rows
 * would move every block through the server's sort memory.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * The slot of a block's row in {@linkcode selectStream}. The slot shows a row's
 * kind, because another column would cost 0.2 µs a row. The minipool's rows
 * have slots from -1 up, the stream's row a slot below this one.
 */
export const miniblockSlot = -2n;

/**
 * The stream's row (number: latest snapshot, slot: -3, data: blockdata_ext),
 * then its blocks, beginning $2 before the latest snapshot, then its minipool
 * (number, slot). The caller deals with a block that stands before a gap.
 * Without a stream, returns what an earlier one has left.
 *
 * Constants get their types from the other parts of the UNION. A cast would add
 * a node to the plan, and the server would pass each row through it.
 */
export const selectStream = (t: StreamTables) =>
  statement({
    text: `SELECT latest_snapshot_miniblock, '-3'::bigint,
        pg_catalog.bpcharsend(blockdata_ext), NULL
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (
        SELECT seq_num, '-2', blockdata, snapshot FROM ${t.miniblocks}
        WHERE stream_id = $1 AND seq_num >= (
          SELECT latest_snapshot_miniblock - $2
          FROM ${t.streams} WHERE stream_id = $1)
        ORDER BY seq_num)
      UNION ALL (
        SELECT generation, slot_num, envelope, NULL FROM ${t.minipools}
        WHERE stream_id = $1 ORDER BY generation, slot_num)`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8", "bytea?", "bytea?"],
  });

/**
 * The stream's row (number: the last block below $2, -1 if there is none), then
 * the blocks from $2 to below $3. Without a stream, returns what an earlier one
 * has left.
 */
export const selectMiniblocks = (t: StreamTables) =>
  statement({
    text: miniblocksText(t, "snapshot"),
    params: ["bpchar", "int8", "int8"],
    columns: ["int4", "int8", "bytea?", "bytea?", "text?"],
  });

/** {@linkcode selectMiniblocks} without reading the snapshots. */
export const selectMiniblocksWithoutSnapshots = (t: StreamTables) =>
  statement({
    text: miniblocksText(t, "NULL"),
    params: ["bpchar", "int8", "int8"],
    columns: ["int4", "int8", "bytea?", "bytea?", "text?"],
  });

function miniblocksText(t: StreamTables, snapshot: string): string {
  return `SELECT 0, ${lastBelow(t)},
      NULL::pg_catalog.bytea, NULL::pg_catalog.bytea,
      blockdata_ext::pg_catalog.text
    FROM ${t.streams} WHERE stream_id = $1
    UNION ALL (
      SELECT 1, seq_num, blockdata, ${snapshot}, NULL
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3
      ORDER BY seq_num)`;
}

function lastBelow(t: StreamTables): string {
  return `coalesce((SELECT seq_num FROM ${t.miniblocks}
        WHERE stream_id = $1 AND seq_num < $2
        ORDER BY seq_num DESC LIMIT 1), -1)`;
}

/** Blocks that one statement searches, at most. */
const searchBlocks = 8192;

/** Blocks that a page looks at, at most, whatever their sizes. */
const maxPageBlocks = 1024;

/**
 * {@linkcode selectMiniblocks} for a page: the first of the blocks $2 to $3
 * that together fit into $4 bytes, at least one; if $5, without their
 * snapshots. If there are more, the number of the next one follows in a row of
 * kind {@linkcode pageRowKind.next}.
 *
 * Sizes are measured without reading the data. The row of a large value holds
 * only its place, and only that passes through the windows.
 */
export const selectMiniblocksPage = (t: StreamTables) =>
  statement({
    text: `SELECT 0, ${lastBelow(t)}, NULL::pg_catalog.bytea,
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
 * Where the stream's blocks are; their number, the first and the last; and the
 * numbers of those beside which a snapshot stands, 8 bytes each, in any order.
 * Mostly the blocks are one run, and these facts suffice. Then this statement
 * takes a fifth of the time of {@linkcode selectRanges}.
 */
export const selectWholeRun = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata_ext::pg_catalog.text, n, first, last, snapshots
      FROM ${t.streams} AS es CROSS JOIN LATERAL (
        SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first, pg_catalog.max(seq_num) AS last,
          coalesce(pg_catalog.string_agg(pg_catalog.int8send(seq_num), ''::pg_catalog.bytea)
            FILTER (WHERE pg_catalog.octet_length(snapshot) > 0), ''::pg_catalog.bytea) AS snapshots
        FROM ${t.miniblocks} WHERE stream_id = $1) AS block
      WHERE es.stream_id = $1`,
    params: ["bpchar"],
    columns: ["text", "int8", "int8?", "int8?", "bytea"],
  });

/** Bits that say why {@linkcode rangeRows} has a block. */
export const rangeBits = { begins: 1n, hasSnapshot: 2n } as const;

/**
 * SQL for the rows from which the runs of a stream's blocks are made: the
 * number of every block that begins or ends a run, or beside which a snapshot
 * stands, with {@linkcode rangeBits}. It takes one pass, and the rows are few
 * however long the runs are.
 */
export function rangeRows(t: StreamTables): string {
  return `SELECT seq_num, begins::int + 2 * has_snapshot::int AS bits
    FROM (
      SELECT seq_num, has_snapshot,
        pg_catalog.lag(seq_num) OVER numbered + 1 IS DISTINCT FROM seq_num AS begins,
        pg_catalog.lead(seq_num) OVER numbered - 1 IS DISTINCT FROM seq_num AS ends
      FROM (
        SELECT seq_num,
          coalesce(pg_catalog.octet_length(snapshot) > 0, false) AS has_snapshot
        FROM ${t.miniblocks} WHERE stream_id = $1) AS block
      WINDOW numbered AS (ORDER BY seq_num)) AS block
    WHERE begins OR ends OR has_snapshot ORDER BY seq_num`;
}

/** The {@linkcode rangeRows}, unless the blocks are in object storage. */
export const selectRanges = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, bits::bigint FROM (${rangeRows(t)}) AS range
      WHERE EXISTS (SELECT 1 FROM ${t.streams}
        WHERE stream_id = $1 AND blockdata_ext = 'D')`,
    params: ["bpchar"],
    columns: ["int8", "int8"],
  });

/**
 * Of the blocks $2 to $3 without a snapshot beside them, the first that fit
 * into $4 bytes, at least one: their numbers, their sizes, and all their bytes
 * in one value. With a row for each, the client would take longer to read the
 * rows than to search them. The server does not know how many blocks have no
 * snapshot. So it must not select by that, or it would read and sort all blocks
 * up to $3.
 */
export const selectUnsearched = (t: StreamTables) =>
  statement({
    text: `SELECT coalesce(pg_catalog.array_agg(seq_num), '{}'),
        coalesce(pg_catalog.array_agg(pg_catalog.octet_length(blockdata)::bigint), '{}'),
        coalesce(pg_catalog.string_agg(blockdata, ''::pg_catalog.bytea), ''::pg_catalog.bytea)
      FROM (
        SELECT seq_num, blockdata FROM (
          SELECT seq_num, blockdata, pg_catalog.row_number() OVER numbered = 1
            OR pg_catalog.sum(pg_catalog.octet_length(blockdata)) OVER numbered <= $4
            AS fits
          FROM (
            SELECT seq_num, blockdata, snapshot FROM ${t.miniblocks}
            WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
            ORDER BY seq_num LIMIT ${searchBlocks}) AS block
          WHERE coalesce(pg_catalog.octet_length(snapshot), 0) = 0
          WINDOW numbered AS (ORDER BY seq_num ROWS UNBOUNDED PRECEDING))
          AS sized
        WHERE fits ORDER BY seq_num) AS page`,
    params: ["bpchar", "int8", "int8", "int8"],
    columns: ["int8[]", "int8[]", "bytea"],
  });

/**
 * Identifies the rows of the blocks up to $2: how many there are, and the sum
 * of the transactions that wrote them; then the last of the blocks. If a block
 * is removed and written anew, its row is of a later transaction.
 */
export const selectBlocksVersion = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*),
        coalesce(pg_catalog.sum(xmin::pg_catalog.text::bigint), 0)::bigint,
        coalesce(pg_catalog.max(seq_num), -1)
      FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num <= $2`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8", "int8"],
  });
