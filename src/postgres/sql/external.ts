/**
 * Statements over the blocks in object storage: `miniblocks_ext_*`, which says
 * where they are in the object, and our own table for what that one has no
 * place for. Rows count only while the stream's location says that its blocks
 * are there.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { joinOwnBlocks } from "./own_blocks.ts";

/**
 * The stream's row (number: bit 0, block $2 - 1 is stored; bit 1, any block
 * below $2 is; start: its version; where the blocks are), then the places of
 * the blocks $2 to $3, their SHA-256 and, unless $4, the snapshots of those
 * that we have put there.
 */
export const selectExternal = (t: StreamTables) =>
  statement({
    text: `SELECT 0, (EXISTS (SELECT 1 FROM ${t.external}
          WHERE stream_id = $1 AND seq_num = $2 - 1)::int
        + 2 * EXISTS (SELECT 1 FROM ${t.external}
          WHERE stream_id = $1 AND seq_num < $2)::int)::bigint,
        xmin::pg_catalog.text::bigint, 0::bigint, NULL::pg_catalog.bytea,
        NULL::pg_catalog.bytea,
        blockdata_ext::pg_catalog.text
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (
        SELECT 1, block.seq_num, start_byte, size, sha256,
          CASE WHEN $4 THEN NULL ELSE snapshot END, NULL
        FROM ${t.streams} AS es JOIN ${t.external} AS block
          ON block.stream_id = $1
            AND block.seq_num >= $2 AND block.seq_num <= $3
        ${joinOwnBlocks(t)}
        WHERE es.stream_id = $1 AND es.blockdata_ext <> 'D'
        ORDER BY block.seq_num)`,
    params: ["bpchar", "int8", "int8", "bool"],
    columns: ["int4", "int8", "int8", "int8", "bytea?", "bytea?", "text?"],
  });

/** The version of the stream's row, which every move writes anew. */
export const selectVersion = (t: StreamTables) =>
  statement({
    text: `SELECT xmin::pg_catalog.text::bigint FROM ${t.streams}
      WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8"],
  });

/** Blocks that a page looks at, at most, whatever their sizes. */
const maxPageBlocks = 1024;

/** Where a page of $4 bytes of the blocks $2 to $3 ends; if more follow. */
export const selectExternalPageEnd = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.max(seq_num) FILTER (WHERE fits),
        pg_catalog.bool_or(NOT fits)
      FROM (
        SELECT seq_num, (pg_catalog.row_number() OVER numbered = 1
            OR pg_catalog.sum(size) OVER numbered <= $4::numeric)
          AND pg_catalog.row_number() OVER numbered < ${maxPageBlocks} AS fits
        FROM (SELECT seq_num, size FROM ${t.external}
          WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
          ORDER BY seq_num LIMIT ${maxPageBlocks}) AS block
        WINDOW numbered AS (ORDER BY seq_num)) AS page`,
    params: ["bpchar", "int8", "int8", "int8"],
    columns: ["int8?", "bool?"],
  });

/** `selectLastMiniblock` for blocks in object storage. */
export const selectLastExternal = (t: StreamTables) =>
  statement({
    text: `SELECT block.seq_num, block.seq_num = 0 AND block.size = 0,
        es.blockdata_ext::pg_catalog.text
      FROM ${t.streams} AS es
      LEFT JOIN LATERAL (
        SELECT seq_num, size FROM ${t.external}
        WHERE stream_id = $1 ORDER BY seq_num DESC LIMIT 1) AS block ON true
      WHERE es.stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8?", "bool?", "text"],
  });

/**
 * The stream's row (number: its version; text: where the blocks are), then the
 * number of every block, whether a snapshot stands beside it, and whether it
 * holds one inside: null if only its data shows that.
 */
export const selectExternalNumbers = (t: StreamTables) =>
  statement({
    text: `SELECT xmin::pg_catalog.text::bigint, false, NULL::boolean,
        blockdata_ext::pg_catalog.text
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (
        SELECT block.seq_num,
          coalesce(pg_catalog.octet_length(snapshot) > 0, false),
          holds_snapshot, NULL
        FROM ${t.streams} AS es JOIN ${t.external} AS block
          ON block.stream_id = $1
        ${joinOwnBlocks(t)}
        WHERE es.stream_id = $1 ORDER BY block.seq_num)`,
    params: ["bpchar"],
    columns: ["int8", "bool", "bool?", "text?"],
  });

/**
 * The version of the stream's row, where the row says that the blocks are,
 * where their object must end, and whether blocks are in the database.
 */
export const selectWhereabouts = (t: StreamTables) =>
  statement({
    text: `SELECT xmin::pg_catalog.text::bigint, blockdata_ext::pg_catalog.text,
        (SELECT start_byte + size FROM ${t.external}
          WHERE stream_id = $1 ORDER BY seq_num DESC LIMIT 1),
        EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
      FROM ${t.streams} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "text", "int8?", "bool"],
  });

export const deleteExternal = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.external} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

export const deleteExternalIn = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.external}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3`,
    params: ["bpchar", "int8", "int8"],
  });

export const deleteMediaBlocks = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.mediaBlocks} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Stops the transaction unless the blocks are at $2. */
export const checkLocation = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM ${t.streams}
        WHERE stream_id = $1 AND blockdata_ext = $2)
      THEN ${rejectSql("stream_moved")} END`,
    params: ["bpchar", "bpchar"],
    columns: ["int4?"],
  });

export const updateLocation = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET blockdata_ext = $2 WHERE stream_id = $1`,
    params: ["bpchar", "bpchar"],
  });
