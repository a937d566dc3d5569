/** Statements over all streams, for metrics. */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/** Streams by their first byte, which is their type; reads only the index. */
export const countStreamsByType = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.left(stream_id, 2), pg_catalog.count(*)
      FROM ${t.streams} GROUP BY 1`,
    columns: ["text", "int8"],
    once: true,
  });

/** Counts the offloader's tasks by their kind. */
export const countMediaTasks = (t: StreamTables) =>
  statement({
    text: `SELECT task, pg_catalog.count(*) FROM ${t.mediaTasks}
      WHERE task <> 'keep' GROUP BY task`,
    columns: ["text", "int8"],
    once: true,
  });

/** Counts the media streams that are in the database and have no task. */
export const countUnmoved = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM ${t.streams} AS es
      WHERE stream_id COLLATE pg_catalog."C" > 'ff'
        AND stream_id COLLATE pg_catalog."C" < 'fg'
        AND NOT ephemeral AND blockdata_ext = 'D'
        AND NOT EXISTS (SELECT 1 FROM ${t.mediaTasks} AS task
          WHERE task.stream_id = es.stream_id)`,
    columns: ["int8"],
    once: true,
  });
