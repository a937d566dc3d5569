/**
 * Statements over the ages of ephemeral streams, for the sweeper. The server's
 * clock alone counts: it wrote the ages too.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * Starts the age of at most $1 ephemeral streams that have none: a node made
 * them. The row count says how many.
 */
export const insertMissingAges = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.ephemeralAges} (stream_id)
      SELECT stream_id FROM ${t.streams} AS es
      WHERE ephemeral AND (SELECT age.stream_id FROM ${t.ephemeralAges} AS age
        WHERE age.stream_id = es.stream_id) IS NULL
      LIMIT $1
      ON CONFLICT (stream_id) DO NOTHING`,
    params: ["int8"],
  });

/**
 * Deletes the ages of streams that are ephemeral no longer, of at most $2 after
 * id $1; a node that sealed or deleted them has left these. The last id that
 * was looked at, or null.
 */
export const deleteStrayAges = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (
        SELECT stream_id FROM ${t.ephemeralAges} WHERE stream_id > $1
        ORDER BY stream_id LIMIT $2),
      stray AS (
        DELETE FROM ${t.ephemeralAges} WHERE stream_id = ANY(ARRAY(
          SELECT stream_id FROM page WHERE (SELECT ephemeral
            FROM ${t.streams} AS es WHERE es.stream_id = page.stream_id)
            IS NOT TRUE)))
      SELECT max(stream_id::text) FROM page`,
    params: ["bpchar", "int8"],
    columns: ["text?"],
  });

/** At most $3 ephemeral streams after id $1 that are $2 milliseconds old. */
export const selectExpired = (t: StreamTables) =>
  statement({
    text: `WITH uploads AS MATERIALIZED (
        SELECT stream_id FROM ${t.streams} WHERE ephemeral)
      SELECT stream_id FROM uploads
      WHERE stream_id > $1 AND (SELECT created_at FROM ${t.ephemeralAges} AS age
        WHERE age.stream_id = uploads.stream_id)
        <= now() - $2 * interval '1 millisecond'
      ORDER BY stream_id LIMIT $3`,
    params: ["bpchar", "int8", "int8"],
    columns: ["bpchar"],
  });

/** Stops the transaction unless the stream is ephemeral and $2 ms old. */
export const checkExpired = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
        WHEN (SELECT ephemeral FROM ${t.streams}
          WHERE stream_id = $1) IS NOT TRUE
        THEN ${rejectSql("stream_not_ephemeral")}
        WHEN coalesce((SELECT created_at FROM ${t.ephemeralAges}
          WHERE stream_id = $1) > now() - $2 * interval '1 millisecond', true)
        THEN ${rejectSql("stream_not_expired")} END`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });
