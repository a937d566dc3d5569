/**
 * Statements that read pages of blocks with their data, in the order of the
 * key.
 */

import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";

/** The most blocks of a page, regardless of their sizes. */
const maxPageBlocks = 1024;

/** The most bytes of a page; a larger block is a page of its own. */
const maxPageBytes = 4 * 1024 * 1024;

/**
 * The blocks of the streams $4 that follow block $2 of stream $1, up to the end
 * of stream $3, as many as fit into a page. One pass reads a partition, and
 * small streams share a page.
 */
export const selectBlocksAfter = (t: StreamTables) =>
  statement({
    text: pageText(
      t,
      `(stream_id, seq_num) > ($1, $2) AND stream_id <= $3
        AND stream_id = ANY($4)`,
    ),
    params: ["bpchar", "int8", "bpchar", "bpchar[]"],
    columns: ["bpchar", "int8", "bytea"],
  });

/**
 * Precedes `selectBlocksAfter` in its transaction. The rows must come from the
 * index in their order. With a bitmap, or a list of ids in the index, the
 * server would sort all rows of the range for each page.
 */
export const readInOrder = statement({
  text: `SELECT pg_catalog.set_config('enable_bitmapscan', 'off', true),
    pg_catalog.set_config('enable_sort', 'off', true)`,
  columns: ["text", "text"],
});

/** The stream's blocks after number $2. */
export const selectBlocksOf = (t: StreamTables) =>
  statement({
    text: pageText(t, "stream_id = $1 AND seq_num > $2"),
    params: ["bpchar", "int8"],
    columns: ["bpchar", "int8", "bytea"],
  });

/**
 * Sizes are known without reading the data, because the row of a large value
 * holds only a pointer. So only the data of the page are read.
 */
function pageText(t: StreamTables, condition: string): string {
  return `SELECT stream_id, seq_num, blockdata FROM (
      SELECT stream_id, seq_num, blockdata,
        pg_catalog.sum(pg_catalog.octet_length(blockdata)) OVER numbered
          AS bytes,
        pg_catalog.row_number() OVER numbered AS nth
      FROM (
        SELECT stream_id, seq_num, blockdata FROM ${t.miniblocks}
        WHERE ${condition}
        ORDER BY stream_id, seq_num LIMIT ${maxPageBlocks}) AS block
      WINDOW numbered AS (
        ORDER BY stream_id, seq_num ROWS UNBOUNDED PRECEDING)) AS page
    WHERE nth = 1 OR bytes <= ${maxPageBytes}
    ORDER BY stream_id, seq_num`;
}

/** Block $2 and the one before it, if the stream still exists. */
export const selectBlockAndBefore = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 - 1 AND seq_num <= $2
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num`,
    params: ["bpchar", "int8"],
    columns: ["int8", "bytea"],
  });
