/**
 * What is stored of a stream, for the operations that look first and then
 * write: rare ones, whose rules need more than a comparison.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { rangeRows } from "./reading.ts";

/** The stream's row, its last block, and whether it has a minipool. */
export const selectState = (t: StreamTables) =>
  statement({
    text: `SELECT latest_snapshot_miniblock, ephemeral,
        blockdata_ext::pg_catalog.text,
        (SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
          ORDER BY seq_num DESC LIMIT 1),
        EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
      FROM ${t.streams} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "bool", "text", "int8?", "bool"],
  });

/** Which of the numbers $2 to $3 are stored. */
export const selectNumbers = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
      ORDER BY seq_num`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8"],
  });

/** Whether the stream is ephemeral, with each block's number, or null. */
export const selectEphemeralNumbers = (t: StreamTables) =>
  statement({
    text: `SELECT es.ephemeral, block.seq_num
      FROM ${t.streams} AS es
      LEFT JOIN ${t.miniblocks} AS block ON block.stream_id = $1
      WHERE es.stream_id = $1 ORDER BY block.seq_num`,
    params: ["bpchar"],
    columns: ["bool", "int8?"],
  });

export const selectMiniblock = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata, snapshot FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num = $2`,
    params: ["bpchar", "int8"],
    columns: ["bytea", "bytea?"],
  });

/**
 * Stops the transaction unless the stream is still as {@linkcode selectState}
 * has returned it ($2 to $6), with $9 of the blocks $7 to $8.
 */
export const checkUnchanged = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN NOT EXISTS (
          SELECT 1 FROM ${t.streams} WHERE stream_id = $1
            AND latest_snapshot_miniblock = $2 AND ephemeral = $3
            AND blockdata_ext = $4)
        OR (SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
          ORDER BY seq_num DESC LIMIT 1) IS DISTINCT FROM $5
        OR EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1) <> $6
        OR (SELECT pg_catalog.count(*) FROM ${t.miniblocks} WHERE stream_id = $1
          AND seq_num >= $7 AND seq_num <= $8) <> $9
      THEN ${rejectSql("stream_changed")} END`,
    params: [
      "bpchar",
      "int8",
      "bool",
      "bpchar",
      "int8?",
      "bool",
      "int8",
      "int8",
      "int8",
    ],
    columns: ["int4?"],
  });

/**
 * All that is stored of a stream: its row (text: where the blocks are), blocks,
 * minipool and candidates, as kinds 0 to 3.
 */
export const selectEverything = (t: StreamTables) =>
  statement({
    text: `SELECT 0, latest_snapshot_miniblock, 0::bigint,
        blockdata_ext::pg_catalog.text, NULL::pg_catalog.bytea,
        NULL::pg_catalog.bytea
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (SELECT 1, seq_num, 0, NULL, blockdata, snapshot
        FROM ${t.miniblocks} WHERE stream_id = $1 ORDER BY seq_num)
      UNION ALL (SELECT 2, generation, slot_num, NULL, envelope, NULL
        FROM ${t.minipools} WHERE stream_id = $1
        ORDER BY generation, slot_num)
      UNION ALL (SELECT 3, seq_num, 0, block_hash::pg_catalog.text, blockdata,
          snapshot
        FROM ${t.candidates} WHERE stream_id = $1
        ORDER BY seq_num, block_hash COLLATE pg_catalog."C")`,
    params: ["bpchar"],
    columns: ["int4", "int8", "int8", "text?", "bytea?", "bytea?"],
    once: true,
  });

/**
 * A stream's row with the number of events (text: where the blocks are), kind
 * 0; the numbers from which `rangeRows` makes the runs, kind 1; and the keys of
 * the candidates, kind 3.
 */
export const selectStatistics = (t: StreamTables) =>
  statement({
    text: `SELECT 0, latest_snapshot_miniblock,
        (SELECT pg_catalog.count(*) FROM ${t.minipools}
          WHERE stream_id = $1 AND slot_num >= 0),
        blockdata_ext::pg_catalog.text
      FROM ${t.streams} WHERE stream_id = $1
      UNION ALL (SELECT 1, seq_num, bits::bigint, NULL
        FROM (${rangeRows(t)}) AS range)
      UNION ALL (SELECT 3, seq_num, 0, block_hash::pg_catalog.text
        FROM ${t.candidates} WHERE stream_id = $1
        ORDER BY seq_num, block_hash COLLATE pg_catalog."C")`,
    params: ["bpchar"],
    columns: ["int4", "int8", "int8", "text?"],
    once: true,
  });
