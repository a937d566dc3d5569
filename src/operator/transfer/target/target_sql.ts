/** Statements that write a transferred stream. */

import { rejectSql } from "../../../database/rejection.ts";
import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";

/** The reason of {@linkcode checkStaged}. */
const notStagedReason = "not_staged";

/** Stops the transaction unless exactly $2 blocks were staged. */
export const checkStaged = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN (SELECT pg_catalog.count(*) FROM ${t.miniblocks}
        WHERE stream_id = $1) <> $2
      THEN ${rejectSql(notStagedReason)} END`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });

export const deleteCandidates = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.candidates} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Raises the latest snapshot to $2, and never lowers it. */
export const raiseHead = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $2
      WHERE stream_id = $1 AND latest_snapshot_miniblock < $2`,
    params: ["bpchar", "int8"],
  });

/**
 * Writes a whole regular stream in one statement, so that small streams share a
 * transaction: its row, blocks $3 with data $4 and snapshots $5, and the
 * minipool of generation $6 with rows $7, the marker first. It does nothing if
 * the stream exists, or if an earlier stream has left rows. Counts 1 if the
 * stream was written.
 */
export const insertGivenStream = (t: StreamTables) =>
  statement({
    text: `WITH created AS (
        INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
          migrated, ephemeral, blockdata_ext)
        SELECT $1, $2, true, false, 'D'
        WHERE NOT EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)
        ON CONFLICT (stream_id) DO NOTHING RETURNING stream_id),
      block AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT stream_id, number, data, snapshot FROM created,
          unnest($3, $4, $5) AS block (number, data, snapshot)),
      event AS (
        INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
        SELECT stream_id, $6, nth - 2, envelope FROM created,
          pg_catalog.unnest($7) WITH ORDINALITY AS event (envelope, nth))
      SELECT pg_catalog.count(*) FROM created`,
    params: [
      "bpchar",
      "int8",
      "int8[]",
      "bytea[]",
      "bytea[]",
      "int8",
      "bytea[]",
    ],
    columns: ["int8"],
  });
