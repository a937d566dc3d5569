/**
 * Statements over the changes of objects that may still be executed; see
 * operations/object_changes.ts. Dates are those that requests carry, in
 * milliseconds since 1970 by the object store's clock.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

const date = (parameter: string) =>
  `pg_catalog.timestamptz 'epoch' + ${parameter}::float * interval '1 millisecond'`;

const insert = (t: StreamTables, unless = "") =>
  `INSERT INTO ${t.mediaChanges} (stream_id, change, signed_at, upload)
    SELECT $1, $2, ${date("$3")}, $4
    WHERE NOT EXISTS (SELECT FROM ${t.streams}
        WHERE stream_id = $1 AND blockdata_ext = $5) ${unless}
    ON CONFLICT (stream_id, change) DO UPDATE SET upload = excluded.upload`;

/**
 * Records change $2 of the stream's object, with date $3, which finishes upload
 * $4; does nothing if the stream's blocks are at $5.
 */
export const insertChange = (t: StreamTables) =>
  statement({
    text: insert(t),
    params: ["bpchar", "int8", "int8", "text?", "bpchar"],
  });

/** {@linkcode insertChange}, unless another change has a date after $6. */
export const insertOnlyChange = (t: StreamTables) =>
  statement({
    text: insert(
      t,
      `AND NOT EXISTS (SELECT FROM ${t.mediaChanges} AS other
        WHERE other.stream_id = $1 AND other.change <> $2
          AND other.signed_at > ${date("$6")})`,
    ),
    params: ["bpchar", "int8", "int8", "text?", "bpchar", "int8"],
  });

/** The dates and uploads of the stream's changes. */
export const selectChanges = (t: StreamTables) =>
  statement({
    text: `SELECT (extract(epoch FROM signed_at) * 1000.0)::bigint, upload
      FROM ${t.mediaChanges} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "text?"],
  });

/** Removes the stream's changes $2, and those with a date of $3 or before. */
export const deleteChanges = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.mediaChanges} WHERE stream_id = $1
      AND (change = ANY($2) OR signed_at <= ${date("$3")})`,
    params: ["bpchar", "int8[]", "int8"],
  });

/**
 * The streams of at most $1 due changes, those that have been due longest
 * first. Last come changes recorded while the server's clock was ahead: they
 * are due later than any change is postponed.
 */
export const selectDueChanges = (t: StreamTables) =>
  statement({
    text: `(SELECT stream_id FROM ${t.mediaChanges}
        WHERE due_at <= pg_catalog.now() ORDER BY due_at LIMIT $1)
      UNION ALL (SELECT stream_id FROM ${t.mediaChanges}
        WHERE due_at > pg_catalog.now() + interval '61 minutes'
        ORDER BY due_at LIMIT $1)
      LIMIT $1`,
    params: ["int8"],
    columns: ["bpchar"],
  });

/** Makes the stream's changes due again after $2 milliseconds. */
export const postponeChanges = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.mediaChanges}
      SET due_at = pg_catalog.now() + $2::float * interval '1 millisecond'
      WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
  });
