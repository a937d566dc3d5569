/**
 * Statements over the ages of ephemeral streams, for the sweeper. Only the
 * server's clock counts, because it also wrote the ages. If it was ahead at
 * that time, the stream's age starts now.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { isAbout } from "./incarnations.ts";

/**
 * Starts the age of at most $1 ephemeral streams without one, which a node has
 * created. If the node has created a stream anew, the age of the earlier one is
 * replaced. The row count is the number of ages.
 */
export const insertMissingAges = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.ephemeralAges} AS age (stream_id, incarnation)
      SELECT stream_id, stream_storage_incarnation FROM ${t.streams} AS es
      WHERE ephemeral AND (SELECT age.stream_id FROM ${t.ephemeralAges} AS age
        WHERE age.stream_id = es.stream_id AND ${isAbout("age")}) IS NULL
      LIMIT $1
      ON CONFLICT (stream_id) DO UPDATE
      SET created_at = pg_catalog.now(), incarnation = excluded.incarnation
      WHERE age.incarnation IS DISTINCT FROM excluded.incarnation`,
    params: ["int8"],
  });

/**
 * Looks at $2 ages at most, after id $1. Deletes the ages of streams that are
 * not ephemeral any more: a node has sealed or deleted them. Ages that lie in
 * the future start now. Returns the last id, or null.
 */
export const mendAges = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (
        SELECT stream_id, created_at > pg_catalog.now() AS is_ahead, coalesce((
            SELECT ephemeral FROM ${t.streams} AS es
            WHERE es.stream_id = age.stream_id), false) AS is_ephemeral
        FROM ${t.ephemeralAges} AS age WHERE stream_id > $1
        ORDER BY stream_id LIMIT $2),
      stray AS (
        DELETE FROM ${t.ephemeralAges} WHERE stream_id = ANY(ARRAY(
          SELECT stream_id FROM page WHERE NOT is_ephemeral))),
      ahead AS (
        UPDATE ${t.ephemeralAges} SET created_at = pg_catalog.now()
        WHERE stream_id = ANY(ARRAY(
          SELECT stream_id FROM page WHERE is_ahead AND is_ephemeral)))
      SELECT pg_catalog.max(stream_id::pg_catalog.text) FROM page`,
    params: ["bpchar", "int8"],
    columns: ["text?"],
  });

/** At most $3 ephemeral streams after id $1 that are $2 milliseconds old. */
export const selectExpired = (t: StreamTables) =>
  statement({
    text: `WITH uploads AS MATERIALIZED (
        SELECT stream_id, stream_storage_incarnation
        FROM ${t.streams} WHERE ephemeral)
      SELECT stream_id FROM uploads
      WHERE stream_id COLLATE pg_catalog."C" > $1
        AND (SELECT least(created_at, pg_catalog.now())
        FROM ${t.ephemeralAges} AS age
        WHERE age.stream_id = uploads.stream_id
          AND ${isAbout("age", "uploads")})
        <= pg_catalog.now() - $2::float * interval '1 millisecond'
      ORDER BY stream_id COLLATE pg_catalog."C" LIMIT $3`,
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
        WHEN coalesce((SELECT least(created_at, pg_catalog.now())
            FROM ${t.ephemeralAges} AS age JOIN ${t.streams} AS es
              ON es.stream_id = $1 AND ${isAbout("age")}
            WHERE age.stream_id = $1)
          > pg_catalog.now() - $2::float * interval '1 millisecond', true)
        THEN ${rejectSql("stream_not_expired")} END`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });
