/**
 * Statements that move blocks into object storage and back. `xmin`, the
 * transaction that wrote a block's row, shows whether the block has changed
 * since it was read: a new row, or the same row written again, has another one.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { incarnationOf, isAbout } from "./incarnations.ts";

/**
 * What decides whether the stream can be moved: its kind, where its blocks are,
 * its waiting events, and whether it was brought back to stay.
 */
export const selectMovable = (t: StreamTables) =>
  statement({
    text: `SELECT ephemeral, blockdata_ext::pg_catalog.text,
        (SELECT pg_catalog.count(*) FROM ${t.minipools}
          WHERE stream_id = $1 AND slot_num >= 0),
        EXISTS (SELECT 1 FROM ${t.mediaTasks} AS task
          WHERE stream_id = $1 AND task IN ('delete', 'keep')
            AND ${isAbout("task")})
      FROM ${t.streams} AS es WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["bool", "text", "int8", "bool"],
  });

/** The number, size and version of at most $2 blocks. */
export const selectVersions = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, pg_catalog.octet_length(blockdata)::bigint,
        xmin::pg_catalog.text::bigint
      FROM ${t.miniblocks} WHERE stream_id = $1 ORDER BY seq_num LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8", "int8"],
  });

/** The blocks $2 to $3, with the SHA-256 that the server computes of each. */
export const selectHashed = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata, pg_catalog.sha256(blockdata),
        xmin::pg_catalog.text::bigint
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
      ORDER BY seq_num`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "bytea", "bytea", "int8"],
  });

/**
 * Stops the transaction unless the stream's blocks are in the database, are
 * exactly those with the numbers $2, sizes $3 and versions $4, and no event
 * waits for another block.
 */
export const checkMovable = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM ${t.streams}
          WHERE stream_id = $1 AND NOT ephemeral AND blockdata_ext = 'D')
        OR EXISTS (SELECT 1 FROM ${t.minipools}
          WHERE stream_id = $1 AND slot_num >= 0)
        OR (SELECT pg_catalog.count(*) FROM ${t.miniblocks}
          WHERE stream_id = $1) <> pg_catalog.cardinality($2)
        OR EXISTS (SELECT 1 FROM unnest($2, $3, $4)
            AS uploaded (seq_num, size, version)
          WHERE (SELECT pg_catalog.octet_length(block.blockdata) = uploaded.size
              AND block.xmin::pg_catalog.text::bigint = uploaded.version
            FROM ${t.miniblocks} AS block WHERE block.stream_id = $1
              AND block.seq_num = uploaded.seq_num) IS NOT TRUE)
      THEN ${rejectSql("stream_changed")} END`,
    params: ["bpchar", "int8[]", "int8[]", "int8[]"],
    columns: ["int4?"],
  });

/** Adds the places $3 and sizes $4 of the blocks $2. */
export const insertExternal = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.external} (stream_id, seq_num, start_byte, size)
      SELECT $1, seq_num, start_byte, size
      FROM unnest($2, $3, $4) AS place (seq_num, start_byte, size)`,
    params: ["bpchar", "int8[]", "int8[]", "int8[]"],
  });

/**
 * Adds what the database keeps of the blocks $2: their SHA-256 $3, their
 * snapshots, which do not leave the server, and whether each holds a snapshot
 * inside ($4, 0 or 1).
 */
export const insertMediaBlocks = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.mediaBlocks}
        (stream_id, seq_num, sha256, snapshot, holds_snapshot, incarnation)
      SELECT $1, uploaded.seq_num, uploaded.hash,
        (SELECT nullif(block.snapshot, ''::pg_catalog.bytea)
          FROM ${t.miniblocks} AS block
          WHERE block.stream_id = $1 AND block.seq_num = uploaded.seq_num),
        uploaded.holds = 1, ${incarnationOf(t)}
      FROM unnest($2, $3, $4) AS uploaded (seq_num, hash, holds)`,
    params: ["bpchar", "int8[]", "bytea[]", "int8[]"],
  });

/** Stops the transaction unless exactly the blocks of the object are back. */
export const checkBack = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN (SELECT pg_catalog.count(*) FROM ${t.miniblocks}
          WHERE stream_id = $1)
        <> (SELECT pg_catalog.count(*) FROM ${t.external} WHERE stream_id = $1)
        OR EXISTS (SELECT 1 FROM ${t.external} AS place
          WHERE place.stream_id = $1
            AND (SELECT pg_catalog.octet_length(block.blockdata) = place.size
              FROM ${t.miniblocks} AS block WHERE block.stream_id = $1
                AND block.seq_num = place.seq_num) IS NOT TRUE)
      THEN ${rejectSql("not_back")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });
