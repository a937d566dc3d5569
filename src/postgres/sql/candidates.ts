/** Statements over `miniblock_candidates_*`, the proposed blocks. */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * Stops the transaction unless the stream's blocks are in the database and $2
 * is above the number of the last one.
 */
export const checkCandidate = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
        WHEN ext IS NULL THEN ${rejectSql("stream_not_found")}
        WHEN ext <> 'D' THEN ${rejectSql("stored_externally")}
        WHEN last IS NULL THEN ${rejectSql("no_miniblocks")}
        WHEN $2 <= last THEN ${rejectSql("candidate_too_old", { last: "last" })}
        END
      FROM (VALUES (
        (SELECT blockdata_ext FROM ${t.streams} WHERE stream_id = $1),
        (SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
          ORDER BY seq_num DESC LIMIT 1))) AS stream (ext, last)`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });

/** Counts 1 if the candidate is new. */
export const insertCandidate = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.candidates}
        (stream_id, seq_num, block_hash, blockdata, snapshot)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (stream_id, seq_num, block_hash) DO NOTHING`,
    params: ["bpchar", "int8", "bpchar", "bytea", "bytea?"],
  });

/** Begins the INSERT of a candidate whose number is above the last block's. */
export function dueCandidate(t: StreamTables): string {
  return `INSERT INTO ${t.candidates}
          (stream_id, seq_num, block_hash, blockdata, snapshot)
        SELECT $1, $2, $3, $4, $5 FROM ${t.streams}
        WHERE stream_id = $1 AND blockdata_ext = 'D' AND $2 > (
          SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
          ORDER BY seq_num DESC LIMIT 1)`;
}

/** A candidate with its rules in one statement. Counts 1 if it was added. */
export const insertDueCandidate = (t: StreamTables) =>
  statement({
    text: `${dueCandidate(t)}
      ON CONFLICT (stream_id, seq_num, block_hash) DO NOTHING`,
    params: ["bpchar", "int8", "bpchar", "bytea", "bytea?"],
  });

export const selectCandidate = (t: StreamTables) =>
  statement({
    text: `SELECT candidate.blockdata, candidate.snapshot
      FROM ${t.streams} AS es
      LEFT JOIN ${t.candidates} AS candidate ON candidate.stream_id = $1
        AND candidate.seq_num = $2 AND candidate.block_hash = $3
      WHERE es.stream_id = $1`,
    params: ["bpchar", "int8", "bpchar"],
    columns: ["bytea?", "bytea?"],
  });

export const countCandidates = (t: StreamTables) =>
  statement({
    text: `SELECT (SELECT pg_catalog.count(*) FROM ${t.candidates}
        WHERE stream_id = $1 AND seq_num = $2)
      FROM ${t.streams} WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
    columns: ["int8"],
  });

/**
 * Whether exactly this candidate is stored with a number above the last
 * block's. A candidate at or below the last block was stored earlier, and would
 * have been refused now.
 */
export const isCandidateStored = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata = $4 AND $2 > (
        SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
        ORDER BY seq_num DESC LIMIT 1)
      FROM ${t.candidates}
      WHERE stream_id = $1 AND seq_num = $2 AND block_hash = $3`,
    params: ["bpchar", "int8", "bpchar", "bytea"],
    columns: ["bool?"],
  });

export const deleteCandidatesBelow = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.candidates} WHERE stream_id = $1 AND seq_num < $2`,
    params: ["bpchar", "int8"],
  });
