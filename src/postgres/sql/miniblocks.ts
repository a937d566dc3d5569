/** Statements over `miniblocks_*`, the blocks of the streams. */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { blockBytes, pageEndSql } from "./pages.ts";

export const insertMiniblock = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.miniblocks}
        (stream_id, seq_num, blockdata, snapshot)
      VALUES ($1, $2, $3, $4)`,
    params: ["bpchar", "int8", "bytea", "bytea?"],
  });

export const copyMiniblocks = (t: StreamTables) =>
  statement({
    text: `COPY ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
      FROM STDIN (FORMAT binary)`,
  });

export const deleteMiniblocks = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.miniblocks} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** The last block of stream $1. */
const lastBlockSql = (t: StreamTables) =>
  `SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
            ORDER BY seq_num DESC LIMIT 1`;

/** Over a minipool with rows: it is of generation $2, and has no hole. */
const isContiguousSql = `pg_catalog.min(generation) = $2
                AND pg_catalog.max(generation) = $2
                AND pg_catalog.min(slot_num) = -1
                AND pg_catalog.max(slot_num) = pg_catalog.count(*) - 2`;

/** Over a minipool with rows: it has $3 events, or $3 is null. */
const isOfSizeSql = `coalesce($3 = pg_catalog.count(*) - 1, true)`;

/**
 * Stops the transaction unless a block with number $2 is due. The rules are
 * those of writeMiniblocks under the stream's lock, in the contract's order. $3
 * is the number of events that the minipool must have, or null.
 *
 * {@linkcode swapMiniblocks} needs the same rules as one condition. A statement
 * that serves both took more of the server's memory in every form tried, so
 * they share the text of the rules.
 */
export const checkSwap = (t: StreamTables) =>
  statement({
    text: `WITH stream AS (
        SELECT ephemeral, blockdata_ext FROM ${t.streams}
        WHERE stream_id = $1),
      block AS (${lastBlockSql(t)}),
      pool AS (
        SELECT pg_catalog.count(*) AS n, ${isContiguousSql} AS is_contiguous,
          ${isOfSizeSql} AS is_of_size
        FROM ${t.minipools} WHERE stream_id = $1)
      SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM stream)
          THEN ${rejectSql("stream_not_found")}
        WHEN (SELECT ephemeral FROM stream)
          THEN ${rejectSql("ephemeral_stream")}
        WHEN (SELECT blockdata_ext FROM stream) <> 'D'
          THEN ${rejectSql("stored_externally")}
        WHEN NOT EXISTS (SELECT 1 FROM block)
          THEN ${rejectSql("no_miniblocks")}
        WHEN (SELECT seq_num FROM block) <> $2 - 1
          THEN ${
      rejectSql("last_miniblock_mismatch", {
        last: "SELECT seq_num FROM block",
      })
    }
        WHEN n > 0 AND NOT is_contiguous
          THEN ${rejectSql("minipool_broken")}
        WHEN n = 0 AND $3 IS NULL
          THEN ${rejectSql("minipool_missing")}
        WHEN NOT CASE WHEN n = 0 THEN $3 = 0 ELSE is_of_size END
          THEN ${
      rejectSql("minipool_size_mismatch", { actual: "greatest(n - 1, 0)" })
    }
        END
      FROM pool`,
    params: ["bpchar", "int8", "int8?"],
    columns: ["int4?"],
  });

/**
 * A whole writeMiniblocks in one statement. Checks the rules of
 * {@linkcode checkSwap}, then adds the blocks $4 with the snapshots $5,
 * numbered from $2; the rows $6 of the new minipool, its marker first; and the
 * latest snapshot $7, unless it is null. Counts 1 if it was done.
 */
export const swapMiniblocks = (t: StreamTables) =>
  statement({
    text: `WITH due AS MATERIALIZED (
        SELECT $2 + pg_catalog.cardinality($4) AS next FROM ${t.streams}
        WHERE stream_id = $1 AND NOT ephemeral AND blockdata_ext = 'D'
          AND (${lastBlockSql(t)}) = $2 - 1
          AND (SELECT CASE WHEN pg_catalog.count(*) = 0 THEN $3 = 0
              ELSE ${isContiguousSql}
                AND ${isOfSizeSql} END
            FROM ${t.minipools} WHERE stream_id = $1)),
      old_minipool AS (
        DELETE FROM ${t.minipools}
        WHERE stream_id = $1 AND EXISTS (SELECT 1 FROM due)),
      new_minipool AS (
        INSERT INTO ${t.minipools}
          (stream_id, generation, slot_num, envelope)
        SELECT $1, next, nth - 2, envelope FROM due,
          pg_catalog.unnest($6) WITH ORDINALITY AS event (envelope, nth)),
      block AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT $1, $2 + nth - 1, data, snapshot FROM due,
          unnest($4, $5) WITH ORDINALITY AS block (data, snapshot, nth)),
      old_candidates AS (
        DELETE FROM ${t.candidates} WHERE stream_id = $1
          AND seq_num < (SELECT next FROM due)),
      head AS (
        UPDATE ${t.streams} SET latest_snapshot_miniblock = $7
        WHERE stream_id = $1 AND $7 IS NOT NULL
          AND EXISTS (SELECT 1 FROM due))
      SELECT pg_catalog.count(*) FROM due`,
    params: [
      "bpchar",
      "int8",
      "int8?",
      "bytea[]",
      "bytea[]",
      "bytea[]",
      "int8?",
    ],
    columns: ["int8"],
  });

/**
 * Adds block $2, without a snapshot, in place of the minipool, and the rows $4
 * of the next one, its marker first. Valid only behind `lockUnchangedStreams`,
 * for a minipool that is cached as contiguous. Looking first costs
 * {@linkcode swapMiniblocks} a sixth of its time.
 */
export const swapUnchecked = (t: StreamTables) =>
  statement({
    text: `WITH old_minipool AS (
        DELETE FROM ${t.minipools} WHERE stream_id = $1),
      new_minipool AS (
        INSERT INTO ${t.minipools}
          (stream_id, generation, slot_num, envelope)
        SELECT $1, $2 + 1, nth - 2, envelope
        FROM pg_catalog.unnest($4) WITH ORDINALITY AS event (envelope, nth)),
      old_candidates AS (
        DELETE FROM ${t.candidates} WHERE stream_id = $1 AND seq_num <= $2)
      INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
      VALUES ($1, $2, $3, NULL)`,
    params: ["bpchar", "int8", "bytea", "bytea[]"],
  });

/** Whether the block is stored with exactly this data. */
export const isMiniblockStored = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata = $3 FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num = $2`,
    params: ["bpchar", "int8", "bytea"],
    columns: ["bool"],
  });

/**
 * Whether the stream's last block is number $2 with exactly this data. Returns
 * no row for what an earlier stream has left.
 */
export const isLastMiniblock = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num = $2 AND blockdata = $3 FROM ${t.miniblocks}
      WHERE stream_id = $1
        AND EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      ORDER BY seq_num DESC LIMIT 1`,
    params: ["bpchar", "int8", "bytea"],
    columns: ["bool"],
  });

/** The row count says whether the number was free. */
export const insertFreeMiniblock = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.miniblocks}
        (stream_id, seq_num, blockdata, snapshot)
      VALUES ($1, $2, $3, $4) ON CONFLICT (stream_id, seq_num) DO NOTHING`,
    params: ["bpchar", "int8", "bytea", "bytea?"],
  });

/** Adds a chunk of an ephemeral stream. Counts 1 if it was added. */
export const insertChunk = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
      SELECT $1, $2, $3, $4 FROM ${t.streams}
      WHERE stream_id = $1 AND ephemeral
      ON CONFLICT (stream_id, seq_num) DO NOTHING`,
    params: ["bpchar", "int8", "bytea", "bytea?"],
  });

export const deleteMiniblocksIn = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3`,
    params: ["bpchar", "int8", "int8"],
  });

/**
 * Deletes the first blocks from $2 to below $3, as many as one statement can
 * (pages.ts). Returns the number to continue with, null when all are gone.
 */
export const deleteFirstMiniblocksIn = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (${
      pageEndSql(
        `${t.miniblocks}
          WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3`,
        blockBytes,
      )
    }),
      gone AS (
        DELETE FROM ${t.miniblocks} WHERE stream_id = $1
          AND seq_num >= $2 AND seq_num <= (SELECT last FROM page))
      SELECT CASE WHEN is_more THEN last + 1 END FROM page`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8?"],
    once: true,
  });

/**
 * Clears the snapshots of blocks $2, as many as one statement can, once no
 * block from $3 to below $4 is left. Returns whether more are to be cleared.
 * Blocks without a snapshot are not written.
 */
export const clearFirstSnapshots = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (${
      pageEndSql(
        `${t.miniblocks} WHERE stream_id = $1 AND seq_num = ANY($2)
          AND snapshot IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM ${t.miniblocks}
            WHERE stream_id = $1 AND seq_num >= $3 AND seq_num < $4)`,
        "pg_catalog.octet_length(snapshot)",
      )
    }),
      cleared AS (
        UPDATE ${t.miniblocks} SET snapshot = NULL
        WHERE stream_id = $1 AND seq_num = ANY($2) AND snapshot IS NOT NULL
          AND seq_num <= (SELECT last FROM page))
      SELECT is_more FROM page`,
    params: ["bpchar", "int8[]", "int8", "int8"],
    columns: ["bool"],
    once: true,
  });

/** Sets the snapshot of block $2, which must have none. */
export const setSnapshot = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.miniblocks} SET snapshot = $3
      WHERE stream_id = $1 AND seq_num = $2
        AND coalesce(pg_catalog.octet_length(snapshot), 0) = 0`,
    params: ["bpchar", "int8", "bytea"],
  });
