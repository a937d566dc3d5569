/**
 * Statements that delete, page by page, the rows of our own tables about
 * streams that a node has deleted. `mendAges` deletes ages, and tasks go when
 * they are due. Each statement looks at the rows of at most $2 streams after id
 * $1 and deletes at most $3. It returns how many rows it deleted, of how many
 * streams, and the last id that it looked at, or null at the end.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { isPresent } from "./incarnations.ts";

/**
 * A row of ours and its stream are written in one transaction. So the snapshot
 * that shows the row also shows its stream, if there is one.
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

/** The latest snapshots at which streams were trimmed. */
export const deleteStrayMarks = (t: StreamTables) =>
  deleteStrays(t, t.trimmingMarks);

/** Tasks by which streams stay in the database. */
export const deleteStrayKeeps = (t: StreamTables) =>
  deleteStrays(t, t.mediaTasks, "own.task = 'keep'");
