/**
 * Statements that lock streams. Everything of a stream is written under the lock
 * of its row in `es`. No statement waits for it on the server (write_queue.ts
 * says why): 55P03 if another session has it. Under READ COMMITTED the statements
 * behind it see what the last holder of the lock has written.
 */

import { notOwnerSql, ownerParams } from "../../database/fence.ts";
import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/** Locks one stream. */
export const lockStream = (t: StreamTables) =>
  statement({
    text: `SELECT 1 FROM ${t.streams} WHERE stream_id = $1 FOR UPDATE NOWAIT`,
    params: ["bpchar"],
    columns: ["int4"],
  });

/**
 * The same for REPEATABLE READ and SERIALIZABLE. There a transaction sees what
 * was committed before its first statement, so the lock would be followed by a
 * look at old rows if another writer ended in between: two would take the same
 * slot. Writing the row makes the server refuse the transaction that comes second
 * (40001), and it is tried again on a new snapshot.
 */
export const lockStreamByUpdate = (t: StreamTables) =>
  statement({
    text: `WITH locked AS MATERIALIZED (
        SELECT stream_id FROM ${t.streams} WHERE stream_id = $1
        FOR UPDATE NOWAIT)
      UPDATE ${t.streams} AS es
      SET latest_snapshot_miniblock = es.latest_snapshot_miniblock
      FROM locked WHERE es.stream_id = locked.stream_id RETURNING 1`,
    params: ["bpchar"],
    columns: ["int4"],
  });

/**
 * Locks several streams, in any order. With NOWAIT the statement never waits, so
 * it cannot deadlock; sorting the rows and returning each would account for a
 * fifth of the work.
 */
export const lockStreams = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ${t.streams}
      WHERE stream_id = ANY($1) FOR UPDATE NOWAIT) AS locked`,
    params: ["bpchar[]"],
    columns: ["int8"],
  });

/**
 * The same, and returns which are there, where their rows are, and the number of
 * this transaction: what the minipool cache needs.
 */
export const lockStreamsLearning = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, ctid, pg_catalog.pg_current_xact_id()
      FROM ${t.streams} WHERE stream_id = ANY($1) FOR UPDATE NOWAIT`,
    params: ["bpchar[]"],
    columns: ["bpchar", "tid", "xid8"],
  });

/**
 * The reason of the rejection when a stream is not unchanged, or the fence is
 * closed. Another attempt behind the fence itself tells which.
 */
export const changedReason = "stream_row_changed";

/**
 * Locks the streams $2, whose rows are at $1, and stops the transaction unless
 * transaction $3 was the last to lock each of them, and was committed:
 * minipool_cache.ts says what follows from that. The fence of the owner, $4 and
 * $5, is in it, which saves a statement. Returns the number of this transaction.
 *
 * Rows are found by where they are, which takes half the time of the index. A
 * row that was written since is elsewhere, and what is there now has another id
 * or another locker. They come in the order of their places, so $1 must be in
 * that order; in any other they would only be looked at again.
 */
export const lockUnchangedStreams = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 4)}
          OR (pg_catalog.array_agg(stream_id) OPERATOR(pg_catalog.=) $2)
            IS NOT TRUE
          OR pg_catalog.pg_xact_status($3) IS DISTINCT FROM 'committed'
        THEN ${rejectSql(changedReason)} END, pg_catalog.pg_current_xact_id()
      FROM (SELECT stream_id FROM ${t.streams}
        WHERE ctid = ANY($1) AND xmax = $3::pg_catalog.xid
        FOR UPDATE NOWAIT) AS unchanged`,
    params: ["tid[]", "bpchar[]", "xid8", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/**
 * The same where there were several lockers: $3 has each stream's, $4 each once,
 * and the owner is $5 and $6.
 */
export const lockUnchangedStreamsOfMany = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 5)}
          OR (pg_catalog.array_agg(stream_id) OPERATOR(pg_catalog.=) $2)
            IS NOT TRUE
          OR (pg_catalog.array_agg(locked_by) OPERATOR(pg_catalog.=)
            $3::pg_catalog.xid[]) IS NOT TRUE
          OR EXISTS (SELECT 1 FROM pg_catalog.unnest($4) AS xid
            WHERE pg_catalog.pg_xact_status(xid) IS DISTINCT FROM 'committed')
        THEN ${rejectSql(changedReason)} END, pg_catalog.pg_current_xact_id()
      FROM (SELECT stream_id, xmax AS locked_by FROM ${t.streams}
        WHERE ctid = ANY($1) FOR UPDATE NOWAIT) AS unchanged`,
    params: ["tid[]", "bpchar[]", "xid8[]", "xid8[]", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/** {@linkcode lockUnchangedStreams} for one. */
export const lockUnchangedStream = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 4)}
          OR NOT EXISTS (SELECT 1 FROM ${t.streams}
            WHERE ctid = $1 AND stream_id = $2 AND xmax = $3::pg_catalog.xid
            FOR UPDATE NOWAIT)
          OR pg_catalog.pg_xact_status($3) IS DISTINCT FROM 'committed'
        THEN ${rejectSql(changedReason)} END, pg_catalog.pg_current_xact_id()`,
    params: ["tid", "bpchar", "xid8", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/** {@linkcode lockStreamByUpdate} for several streams. */
export const lockStreamsByUpdate = (t: StreamTables) =>
  statement({
    text: `WITH locked AS MATERIALIZED (
        SELECT stream_id FROM ${t.streams} WHERE stream_id = ANY($1)
        FOR UPDATE NOWAIT),
      claimed AS (
        UPDATE ${t.streams} AS es
        SET latest_snapshot_miniblock = es.latest_snapshot_miniblock
        FROM locked WHERE es.stream_id = locked.stream_id RETURNING 1)
      SELECT pg_catalog.count(*) FROM claimed`,
    params: ["bpchar[]"],
    columns: ["int8"],
  });
