/**
 * Statements that remove a stream's rows other than the one in `es`, some at a
 * time; operations/leftovers.ts says why.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { blockBytes, pageSql } from "./pages.ts";

/** The reason of the rejection by {@linkcode checkNoLeftovers}. */
export const leftoversReason = "leftovers";

/** The reason of the rejection by {@linkcode checkGone}. */
const notGoneReason = "stream_not_gone";

/**
 * Deletes the stream's last rows, as many as fit, so that its first rows stay
 * longest. Block 0 goes last, because a node that creates the stream anew
 * inserts it, too, and so meets what is left.
 */
function deleteLast(
  table: string,
  { keys, bytes, where = "stream_id = $1" }: {
    keys: readonly string[];
    bytes: string;
    where?: string;
  },
): string {
  const key = keys.join(", ");
  const from = `${table} WHERE ${where}`;
  const page = pageSql({ keys, descending: true, bytes, from });
  return `DELETE FROM ${from} AND (${key}) >= (
    SELECT ${key} FROM (${page}) AS page WHERE fits ORDER BY ${key} LIMIT 1)`;
}

/**
 * Deletes blocks up to number $2, and returns the lowest number deleted.
 * Without that bound, each statement would first pass over all rows that
 * earlier ones have deleted.
 */
export const deleteLastMiniblocks = (t: StreamTables) =>
  statement({
    text: `WITH gone AS (${
      deleteLast(t.miniblocks, {
        keys: ["seq_num"],
        bytes: blockBytes,
        where: "stream_id = $1 AND seq_num <= $2",
      })
    } RETURNING seq_num) SELECT pg_catalog.min(seq_num) FROM gone`,
    params: ["bpchar", "int8"],
    columns: ["int8?"],
    once: true,
  });

export const deleteLastEvents = (t: StreamTables) =>
  statement({
    text: deleteLast(t.minipools, {
      keys: ["generation", "slot_num"],
      bytes: "coalesce(pg_catalog.octet_length(envelope), 0)",
    }),
    params: ["bpchar"],
    once: true,
  });

export const deleteLastCandidates = (t: StreamTables) =>
  statement({
    text: deleteLast(t.candidates, {
      keys: ["seq_num", "block_hash"],
      bytes: blockBytes,
    }),
    params: ["bpchar"],
    once: true,
  });

/**
 * Sent behind those three. Returns 1 if the stream has rows left, else 0. If it
 * has, the statement records that the stream is being deleted, and adds a block
 * 0 if the stream has none because it was trimmed. Otherwise a node that
 * creates the stream anew would adopt what is left; it inserts block 0, too,
 * and fails.
 */
export const noteRest = (t: StreamTables) =>
  statement({
    text: `WITH rest AS MATERIALIZED (SELECT
        WHERE EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
          OR EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
          OR EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)),
      noted AS (
        INSERT INTO ${t.deletions} (stream_id) SELECT $1 FROM rest
        ON CONFLICT (stream_id) DO NOTHING),
      guarded AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT $1, 0, ''::pg_catalog.bytea, NULL FROM rest
        ON CONFLICT (stream_id, seq_num) DO NOTHING),
      done AS (
        DELETE FROM ${t.deletions}
        WHERE stream_id = $1 AND NOT EXISTS (SELECT FROM rest))
      SELECT pg_catalog.count(*) FROM rest`,
    params: ["bpchar"],
    columns: ["int8"],
  });

/** Stops the transaction if the stream has a row: it was created anew. */
export const checkGone = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN EXISTS (
        SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      THEN ${rejectSql(notGoneReason)} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Stops the transaction if an earlier stream of this id has left rows. */
export const checkNoLeftovers = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
      WHEN EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
        OR EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
        OR EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)
      THEN ${rejectSql(leftoversReason)} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** At most $2 streams with a deletion that is not complete, after id $1. */
export const selectDeletions = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id FROM ${t.deletions} WHERE stream_id > $1
      ORDER BY stream_id LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar"],
  });

/**
 * Ends the deletion and keeps the stream's rows, which belong to a new stream
 * by now. Only the block 0 that {@linkcode noteRest} has added is removed.
 */
export const forgetDeletion = (t: StreamTables) =>
  statement({
    text: `WITH forgotten AS (
        DELETE FROM ${t.deletions} WHERE stream_id = $1 RETURNING stream_id)
      DELETE FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num = 0
        AND pg_catalog.octet_length(blockdata) = 0 AND EXISTS (SELECT FROM forgotten)`,
    params: ["bpchar"],
  });
