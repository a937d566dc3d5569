/**
 * Statements that delete what our own tables keep about streams that a node has
 * deleted, page by page. Ages go with `mendAges`, tasks when they are due. Each
 * looks at the rows of at most $2 streams after id $1 and deletes at most $3. It
 * returns how many rows went, of how many streams, and the last id that it looked
 * at, or null at the end.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { isPresent } from "./incarnations.ts";

/**
 * A row that is there is about a stream that the same snapshot sees, if there is
 * one: both are written in one transaction.
 */
const deleteStrays = (t: StreamTables, table: string, which = "true") =>
  statement({
    text: `WITH page AS MATERIALIZED (
        SELECT DISTINCT stream_id FROM ${table} WHERE stream_id > $1
        ORDER BY stream_id LIMIT $2),
      gone AS (
        DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
          SELECT own.ctid FROM ${table} AS own
          WHERE stream_id = ANY(ARRAY(SELECT stream_id FROM page))
            AND ${which} AND NOT ${isPresent(t, "own")}
          LIMIT $3))
        RETURNING stream_id)
      SELECT pg_catalog.count(*), pg_catalog.count(DISTINCT stream_id),
        (SELECT pg_catalog.max(stream_id::pg_catalog.text) FROM page)
      FROM gone`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "int8", "text?"],
  });

/** SHA-256s and snapshots of blocks. */
export const deleteStrayBlocks = (t: StreamTables) =>
  deleteStrays(t, t.mediaBlocks);

/** Where streams were trimmed last. */
export const deleteStrayMarks = (t: StreamTables) =>
  deleteStrays(t, t.trimmingMarks);

/** That a stream is to stay in the database. */
export const deleteStrayKeeps = (t: StreamTables) =>
  deleteStrays(t, t.mediaTasks, "own.task = 'keep'");
