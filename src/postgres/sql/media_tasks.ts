/**
 * Statements over the tasks of the media offloader. A stream has one at most,
 * the latest intention. A task about an earlier stream of the id is void,
 * except for deleting that stream's object. Only the server's clock counts.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { incarnationOf, isAbout, isPresent } from "./incarnations.ts";

const isVoid = (t: StreamTables) =>
  `task.task <> 'delete' AND NOT ${isPresent(t, "task")}`;

/** Gives the stream task $2, due now, in place of any other. */
export const putTask = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.mediaTasks} AS old (stream_id, task, incarnation)
      VALUES ($1, $2, ${incarnationOf(t)})
      ON CONFLICT (stream_id) DO UPDATE SET task = excluded.task,
        due_at = pg_catalog.now(), attempts = 0, reason = NULL,
        incarnation = excluded.incarnation`,
    params: ["bpchar", "text"],
  });

/** {@linkcode putTask}, due after $3 milliseconds, as if it had failed once. */
export const putTaskLater = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.mediaTasks} AS old
        (stream_id, task, due_at, attempts, incarnation)
      VALUES ($1, $2,
        pg_catalog.now() + $3::float * interval '1 millisecond', 1,
        ${incarnationOf(t)})
      ON CONFLICT (stream_id) DO UPDATE SET task = excluded.task,
        due_at = excluded.due_at, attempts = 1, reason = NULL,
        incarnation = excluded.incarnation`,
    params: ["bpchar", "text", "int8"],
  });

/**
 * Turns any task of a stream that is being deleted into deleting its object.
 * The stream may have an object that was to be deleted, or that nothing names.
 */
export const turnIntoDeletion = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.mediaTasks} SET task = 'delete',
        due_at = pg_catalog.now(), attempts = 0, reason = NULL
      WHERE stream_id = $1`,
    params: ["bpchar"],
  });

export const deleteTask = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.mediaTasks} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Deletes those of the streams' tasks that are void. */
export const deleteVoidTasks = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.mediaTasks} AS task
      WHERE stream_id = ANY($1) AND ${isVoid(t)}`,
    params: ["bpchar[]"],
  });

/** Deletes the stream's task if it is still task $2. */
export const deleteTaskOf = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.mediaTasks} WHERE stream_id = $1 AND task = $2`,
    params: ["bpchar", "text"],
  });

/**
 * Sets task $2 aside, which has failed for reason $3: it is due again after $4
 * milliseconds, doubled by each failure up to $5, give or take a half.
 */
export const setTaskAside = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.mediaTasks} AS old
        (stream_id, task, due_at, attempts, reason, incarnation)
      VALUES ($1, $2,
        pg_catalog.now() + $4::float * (0.5::float + pg_catalog.random())
          * interval '1 millisecond', 1, $3, ${incarnationOf(t)})
      ON CONFLICT (stream_id) DO UPDATE SET reason = excluded.reason,
        attempts = old.attempts + 1,
        due_at = pg_catalog.now() + (0.5::float + pg_catalog.random())
          * interval '1 millisecond'
          * least($4::float * pg_catalog.power(2, least(old.attempts, 30)), $5)
      WHERE old.task = excluded.task`,
    params: ["bpchar", "text", "text", "int8", "int8"],
  });

/**
 * At most $1 due tasks, those that have been due longest first, and whether
 * each is void. Last come tasks that were put while the server's clock was
 * ahead. They are due later although nothing has failed, or later than any task
 * is set aside for.
 */
export const selectDueTasks = (t: StreamTables) =>
  statement({
    text: `WITH due AS MATERIALIZED (
        (SELECT stream_id, task, incarnation FROM ${t.mediaTasks}
          WHERE task <> 'keep' AND due_at <= pg_catalog.now()
          ORDER BY due_at LIMIT $1)
        UNION ALL (SELECT stream_id, task, incarnation FROM ${t.mediaTasks}
          WHERE task <> 'keep' AND due_at > pg_catalog.now()
            AND (attempts = 0 OR due_at > pg_catalog.now() + interval '45 days')
          ORDER BY due_at LIMIT $1)
        LIMIT $1)
      SELECT stream_id, task, ${isVoid(t)} FROM due AS task`,
    params: ["int8"],
    columns: ["bpchar", "text", "bool"],
  });

/**
 * The object is deleted: a stream that is back in the database is to stay
 * there. An upload is not back; sealing it decides its next task.
 */
export const keepStream = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.mediaTasks} AS task SET task = 'keep', reason = NULL
      WHERE stream_id = $1 AND task = 'delete'
        AND EXISTS (SELECT FROM ${t.streams} AS es
          WHERE es.stream_id = task.stream_id AND NOT es.ephemeral
            AND ${isAbout("task")})`,
    params: ["bpchar"],
  });

/**
 * The next $2 media streams after id $1: whether each is in the database
 * without a task, and whether it has a void task.
 */
export const selectMediaStreams = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (
        SELECT stream_id, NOT ephemeral AND blockdata_ext = 'D' AS is_here,
          stream_storage_incarnation
        FROM ${t.streams}
        WHERE stream_id COLLATE pg_catalog."C" > $1 AND stream_id COLLATE pg_catalog."C" < 'fg'
        ORDER BY stream_id COLLATE pg_catalog."C" LIMIT $2)
      SELECT page.stream_id, is_here AND (
          task.stream_id IS NULL OR NOT ${isAbout("task", "page")}),
        task.stream_id IS NOT NULL AND NOT ${isAbout("task", "page")}
      FROM page LEFT JOIN ${t.mediaTasks} AS task USING (stream_id)
      ORDER BY page.stream_id COLLATE pg_catalog."C"`,
    params: ["bpchar", "int8"],
    columns: ["bpchar", "bool", "bool"],
  });

/** Which of the streams $1 have their blocks at $2. */
export const selectAtLocation = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id FROM ${t.streams}
      WHERE stream_id = ANY($1) AND blockdata_ext = $2`,
    params: ["bpchar[]", "bpchar"],
    columns: ["bpchar"],
  });

/**
 * The next $4 media streams after id $1, up to and including $2, and whether
 * the blocks of each are at $3.
 */
export const selectLocations = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, blockdata_ext = $3 FROM ${t.streams}
      WHERE stream_id COLLATE pg_catalog."C" > $1 AND stream_id COLLATE pg_catalog."C" <= $2
      ORDER BY stream_id COLLATE pg_catalog."C" LIMIT $4`,
    params: ["bpchar", "bpchar", "bpchar", "int8"],
    columns: ["bpchar", "bool"],
  });
