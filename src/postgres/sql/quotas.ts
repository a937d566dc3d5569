/** Statements that count what the quotas limit. */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { dueCandidate } from "./candidates.ts";

/** The bytes of a minipool's events. */
export const selectMinipoolBytes = (t: StreamTables) =>
  statement({
    text: `SELECT coalesce(
        pg_catalog.sum(pg_catalog.octet_length(envelope)), 0)::bigint
      FROM ${t.minipools} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8"],
  });

export const selectLatestSnapshot = (t: StreamTables) =>
  statement({
    text: `SELECT greatest(latest_snapshot_miniblock, 0) FROM ${t.streams}
      WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8"],
  });

/**
 * `insertDueCandidate`, if there are fewer than $6 candidates for its number.
 * Counts 1 if the candidate was added, then returns how many there were.
 */
export const insertCandidateWithin = (t: StreamTables) =>
  statement({
    text: `WITH others AS MATERIALIZED (
        SELECT pg_catalog.count(*) AS n FROM ${t.candidates}
        WHERE stream_id = $1 AND seq_num = $2),
      added AS (
        ${dueCandidate(t)} AND (SELECT n < $6 FROM others)
        ON CONFLICT (stream_id, seq_num, block_hash) DO NOTHING RETURNING 1)
      SELECT (SELECT pg_catalog.count(*) FROM added), n FROM others`,
    params: ["bpchar", "int8", "bpchar", "bytea", "bytea?", "int8"],
    columns: ["int8", "int8"],
  });

/**
 * Stops the transaction if there are $4 candidates or more for the number $2
 * and none of them has the hash $3. Returns how many there are.
 */
export const checkCandidates = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN n >= $4 AND NOT EXISTS (
          SELECT 1 FROM ${t.candidates} WHERE stream_id = $1 AND seq_num = $2
            AND block_hash = $3)
        THEN ${rejectSql("candidates_quota", { actual: "n + 1" })} END, n
      FROM (SELECT pg_catalog.count(*) AS n FROM ${t.candidates}
        WHERE stream_id = $1 AND seq_num = $2) AS others`,
    params: ["bpchar", "int8", "bpchar", "int8"],
    columns: ["int4?", "int8"],
  });
