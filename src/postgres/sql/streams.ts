/** Statements over `es`, the table of streams. */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { incarnationOf } from "./incarnations.ts";

/**
 * Adds the stream, or stops the transaction and reports whether the stream that
 * exists has an empty genesis, the trace of a creation that was broken off.
 */
export const insertStream = (t: StreamTables) =>
  statement({
    text: `WITH created AS (
        INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
          migrated, ephemeral, blockdata_ext)
        VALUES ($1, 0, true, $2, 'D')
        ON CONFLICT (stream_id) DO NOTHING RETURNING 1)
      SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM created) THEN ${
      rejectSql("stream_exists", {
        repairable: `SELECT pg_catalog.count(*) FROM ${t.streams} AS es
          JOIN ${t.miniblocks} AS block ON block.stream_id = es.stream_id
          WHERE es.stream_id = $1 AND ${isRepairable}`,
      })
    } END`,
    params: ["bpchar", "bool"],
    columns: ["int4?"],
  });

/**
 * Creates a whole stream in one statement: its row, its genesis and the marker
 * of generation 1. Does nothing if the stream exists, or rows that an earlier
 * one has left. Counts 1 if it was done.
 */
export const insertWholeStream = (t: StreamTables) =>
  statement({
    text: `WITH created AS (
        INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
          migrated, ephemeral, blockdata_ext)
        SELECT $1, 0, true, false, 'D'
        WHERE NOT EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)
        ON CONFLICT (stream_id) DO NOTHING RETURNING stream_id),
      block AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT stream_id, 0, $2, $3 FROM created)
      INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
      SELECT stream_id, 1, -1, NULL FROM created`,
    params: ["bpchar", "bytea", "bytea?"],
  });

const isRepairable = `NOT es.ephemeral AND es.latest_snapshot_miniblock <= 0
  AND block.seq_num = 0 AND pg_catalog.octet_length(block.blockdata) = 0`;

/** Fills an empty genesis; see {@linkcode insertStream}. */
export const repairGenesis = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.miniblocks} AS block
      SET blockdata = $2, snapshot = $3
      FROM ${t.streams} AS es
      WHERE es.stream_id = $1 AND block.stream_id = $1 AND ${isRepairable}`,
    params: ["bpchar", "bytea", "bytea?"],
  });

/** Removes the stream's row, or stops the transaction if there is none. */
export const deleteStreamRow = (t: StreamTables) =>
  statement({
    text: `WITH deleted AS (
        DELETE FROM ${t.streams} WHERE stream_id = $1 RETURNING 1)
      SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM deleted)
        THEN ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Sets the number of the latest snapshot. */
export const updateHead = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $2
      WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
  });

/** At most $2 ids after $1, in the order of their bytes. */
export const selectStreamIds = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id FROM ${t.streams}
      WHERE stream_id COLLATE pg_catalog."C" > $1
      ORDER BY stream_id COLLATE pg_catalog."C" LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar"],
  });

export const countStreams = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM ${t.streams}`,
    columns: ["int8"],
  });

/** Makes a regular stream of an ephemeral or archived one. */
export const regularizeStream = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams}
      SET ephemeral = false, latest_snapshot_miniblock = $2
      WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
  });

/** Whether the stream is ephemeral, and where its blocks are. */
export const selectStreamRow = (t: StreamTables) =>
  statement({
    text: `SELECT ephemeral, blockdata_ext::pg_catalog.text FROM ${t.streams}
      WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["bool", "text"],
  });

/** The bytes of the stream's blocks in the database, without snapshots. */
export const selectDataSize = (t: StreamTables) =>
  statement({
    text: `SELECT coalesce((SELECT
          pg_catalog.sum(pg_catalog.octet_length(blockdata))
        FROM ${t.miniblocks} WHERE stream_id = $1), 0)::bigint
      FROM ${t.streams} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8"],
  });

/** Starts the age of an ephemeral stream. */
export const insertEphemeralAge = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.ephemeralAges} AS age (stream_id, incarnation)
      VALUES ($1, ${incarnationOf(t)})
      ON CONFLICT (stream_id) DO UPDATE SET created_at = pg_catalog.now(),
        incarnation = excluded.incarnation`,
    params: ["bpchar"],
  });

export const deleteEphemeralAge = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.ephemeralAges} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Stops the transaction unless the stream exists. */
export const checkStream = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN NOT EXISTS (
        SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      THEN ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Stops the transaction unless the stream exists and is ephemeral. */
export const checkEphemeral = (t: StreamTables) =>
  statement({
    text: `SELECT CASE (SELECT ephemeral FROM ${t.streams}
        WHERE stream_id = $1)
      WHEN true THEN NULL
      WHEN false THEN ${rejectSql("stream_not_ephemeral")}
      ELSE ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Stops the transaction if trimming to $2 and clearing $3 is refused. */
export const checkTrim = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
        WHEN latest IS NULL THEN ${rejectSql("stream_not_found")}
        WHEN ext <> 'D' THEN ${rejectSql("stored_externally")}
        WHEN $2 > latest THEN ${
      rejectSql("above_latest_snapshot", { latest: "latest" })
    }
        WHEN latest = ANY($3) THEN ${
      rejectSql("latest_snapshot_protected", { latest: "latest" })
    } END
      FROM (VALUES ((SELECT greatest(latest_snapshot_miniblock, 0)
          FROM ${t.streams} WHERE stream_id = $1),
        (SELECT blockdata_ext FROM ${t.streams} WHERE stream_id = $1)))
        AS stream (latest, ext)`,
    params: ["bpchar", "int8", "int8[]"],
    columns: ["int4?"],
  });
