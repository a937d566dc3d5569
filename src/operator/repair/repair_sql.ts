/**
 * Statements that repair and that undo repairs. The server turns rows into JSON
 * and back, so that no code here has to know their columns.
 */

import { rejectSql } from "../../database/rejection.ts";
import { type Statement, statement } from "../../database/statement.ts";
import type { StreamTables } from "../../postgres/catalog.ts";
import { pageSql } from "../../postgres/sql/pages.ts";
import { nameIn, type RowTable, rowTables } from "./tables.ts";

/** The reason of a rejection: the stored rows no longer match the plan. */
export const changedReason = "finding_changed";

/** The kind of superfluous rows. */
export type RowKind = "orphan" | "stale" | "ephemeral" | "marker";

/** The condition under which rows of stream $1 are superfluous. */
function condition(t: StreamTables, kind: RowKind): string {
  const isThere = `EXISTS (SELECT 1 FROM ${t.streams} WHERE stream_id = $1)`;
  switch (kind) {
    case "orphan":
      return `NOT ${isThere}`;
    case "stale":
      return `${isThere} AND seq_num <= (SELECT pg_catalog.max(seq_num)
        FROM ${t.miniblocks} WHERE stream_id = $1)`;
    case "ephemeral":
      return `EXISTS (SELECT 1 FROM ${t.streams}
        WHERE stream_id = $1 AND ephemeral)`;
    case "marker":
      return "slot_num < 0";
  }
}

/**
 * Bytes of rows that are in memory at a time. As text they take twice the size.
 */
const bytesAtMost = 4 * 1024 * 1024;

type SelectRows = Statement<["bpchar"], ["tid", "int8", "text"]>;
type DeleteRows = Statement<
  ["bpchar", "tid[]", "int8[]"],
  ["int4?"]
>;

interface RowStatements {
  select: (t: StreamTables) => SelectRows;
  delete: (t: StreamTables) => DeleteRows;
}

/** Templates are made once, because a catalog caches statements by template. */
const made = new Map<string, RowStatements>();

/** The statements over the superfluous rows of a kind in a table. */
export function rowStatements(table: RowTable, kind: RowKind): RowStatements {
  const key = `${table} ${kind}`;
  let statements = made.get(key);
  if (statements === undefined) {
    statements = {
      select: (t) => selectRows(t, table, kind),
      delete: (t) => deleteRows(t, table, kind),
    };
    made.set(key, statements);
  }
  return statements;
}

/**
 * A page of rows from the end, each with its place, its version and its JSON.
 * Rows go from the end so that an interrupted repair leaves the beginning: then
 * a node that creates a stream with this id finds its block 0.
 */
function selectRows(
  t: StreamTables,
  table: RowTable,
  kind: RowKind,
): SelectRows {
  const name = nameIn(t, table);
  const { keys, bytes } = rowTables[table];
  const from = `${name} WHERE stream_id = $1 AND ${condition(t, kind)}`;
  const page = pageSql({ keys, descending: true, bytes, from, bytesAtMost });
  const key = keys.join(", ");
  return statement({
    text: `SELECT ctid, xmin::pg_catalog.text::bigint,
        pg_catalog.to_jsonb(superfluous.*)::pg_catalog.text
      FROM ${name} AS superfluous WHERE stream_id = $1
        AND (${key}) IN (SELECT ${key} FROM (${page}) AS page WHERE fits)`,
    params: ["bpchar"],
    columns: ["tid", "int8", "text"],
    once: true,
  });
}

/**
 * Deletes the rows at places $2 if all of them still have the versions $3 and
 * are still superfluous. Otherwise it deletes none.
 */
function deleteRows(
  t: StreamTables,
  table: RowTable,
  kind: RowKind,
): DeleteRows {
  const name = nameIn(t, table);
  return statement({
    text: `WITH gone AS (
        DELETE FROM ${name} WHERE stream_id = $1 AND ctid = ANY($2)
          AND xmin::pg_catalog.text::bigint = ANY($3) AND ${condition(t, kind)}
        RETURNING 1)
      SELECT CASE WHEN (SELECT pg_catalog.count(*) FROM gone)
          <> pg_catalog.cardinality($2)
        THEN ${rejectSql(changedReason)} END`,
    params: ["bpchar", "tid[]", "int8[]"],
    columns: ["int4?"],
    once: true,
  });
}

/** Puts back those of the rows $2 that are missing, and counts them. */
export const insertRows: Record<
  RowTable,
  (t: StreamTables) => Statement<["text"], []>
> = {
  miniblocks: (t) => insertInto(t.miniblocks),
  miniblocks_ext: (t) => insertInto(t.external),
  minipools: (t) => insertInto(t.minipools),
  miniblock_candidates: (t) => insertInto(t.candidates),
};

function insertInto(name: string): Statement<["text"], []> {
  return statement({
    text: `INSERT INTO ${name}
      SELECT * FROM pg_catalog.jsonb_populate_recordset(
        NULL::${name}, $1::pg_catalog.jsonb)
      ON CONFLICT DO NOTHING`,
    params: ["text"],
    once: true,
  });
}

/** Stops the transaction if the stream exists. */
export const checkUnknown = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN EXISTS (
        SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      THEN ${rejectSql("stream_exists")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/**
 * Stops the transaction unless the stream is a regular one, generation $2 is
 * due, and the minipool holds exactly the events 0, 1, … of that generation and
 * lacks only the right marker. A marker of a later generation without events
 * would mean that blocks were lost.
 */
export const checkOnlyMarkerWrong = (t: StreamTables) => {
  const places = t.suffix.startsWith("m")
    ? `UNION ALL SELECT seq_num FROM ${t.external} WHERE stream_id = $1`
    : "";
  return statement({
    text: `WITH event AS (
        SELECT pg_catalog.count(*) AS n,
          pg_catalog.count(*) FILTER (WHERE generation = $2) AS due,
          coalesce(pg_catalog.max(slot_num), -1) AS last
        FROM ${t.minipools} WHERE stream_id = $1 AND slot_num >= 0)
      SELECT CASE WHEN (SELECT ephemeral FROM ${t.streams}
          WHERE stream_id = $1) IS NOT FALSE
        OR (SELECT pg_catalog.max(seq_num) + 1 FROM (
            SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
            ${places}) AS block) IS DISTINCT FROM $2
        OR n <> due OR last <> n - 1
        OR (n = 0 AND EXISTS (SELECT 1 FROM ${t.minipools}
          WHERE stream_id = $1 AND generation > $2))
        OR (SELECT pg_catalog.count(*) = 1
              AND pg_catalog.bool_and(generation = $2
                AND coalesce(pg_catalog.octet_length(envelope), 0) = 0)
            FROM ${t.minipools} WHERE stream_id = $1 AND slot_num < 0)
      THEN ${rejectSql(changedReason)} END FROM event`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });
};

/** Removes the marker that a repair has written, and counts it. */
export const deleteMarker = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.minipools}
      WHERE stream_id = $1 AND generation = $2 AND slot_num = -1`,
    params: ["bpchar", "int8"],
  });

/**
 * Makes block $3 the stream's latest snapshot instead of block $2, if every
 * block from $3 to the last is stored. $4 says that the block needs no snapshot
 * beside it, because its data hold one or it is a genesis. Counts 1 if the
 * change was made.
 */
export const movePointer = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $3
      WHERE stream_id = $1 AND latest_snapshot_miniblock = $2
        AND NOT ephemeral AND blockdata_ext = 'D'
        AND EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num = $3
            AND ($4 OR pg_catalog.octet_length(snapshot) > 0))
        AND (SELECT pg_catalog.count(*) = pg_catalog.max(seq_num) - $3 + 1
          FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num >= $3)`,
    params: ["bpchar", "int8", "int8", "bool"],
  });

/** Undoes `movePointer` if the latest snapshot has not moved since. */
export const movePointerBack = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $3
      WHERE stream_id = $1 AND latest_snapshot_miniblock = $2`,
    params: ["bpchar", "int8", "int8"],
  });

/** Which block the latest snapshot names. */
export const selectPointer = (t: StreamTables) =>
  statement({
    text: `SELECT latest_snapshot_miniblock FROM ${t.streams}
      WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8"],
  });
