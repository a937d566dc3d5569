/** Pages of blocks with their data, in the order of the key. */

import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";

/** Blocks that a page looks at, whatever their sizes. */
const maxPageBlocks = 1024;

/** Bytes of a page; a larger block is a page of its own. */
const maxPageBytes = 4 * 1024 * 1024;

/**
 * The blocks of the streams $4 behind block $2 of stream $1, up to and with
 * stream $3, as many as fit into a page. One pass over a partition, whatever the
 * streams' sizes: small ones share a page.
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
 * To be sent before the above, in its transaction. The rows must come from the
 * index in their order: a bitmap, or a list of ids in the index, would have all
 * rows of the range sorted for each page of it.
 */
export const readInOrder = statement({
  text: `SELECT pg_catalog.set_config('enable_bitmapscan', 'off', true),
    pg_catalog.set_config('enable_sort', 'off', true)`,
  columns: ["text", "text"],
});

/** The stream's blocks behind number $2. */
export const selectBlocksOf = (t: StreamTables) =>
  statement({
    text: pageText(t, "stream_id = $1 AND seq_num > $2"),
    params: ["bpchar", "int8"],
    columns: ["bpchar", "int8", "bytea"],
  });

/**
 * Sizes are known without reading the data: of a large value the row holds no
 * more than where it is, and only what fits is read.
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

/** The blocks $2 and the one before, of a stream that is still there. */
export const selectBlockAndBefore = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 - 1 AND seq_num <= $2
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num`,
    params: ["bpchar", "int8"],
    columns: ["int8", "bytea"],
  });
