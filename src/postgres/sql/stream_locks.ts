/**
 * Statements that lock streams. Every row of a stream is written under the lock
 * of the stream's row in `es`. No statement waits on the server for that lock
 * (write_queue.ts says why): if another session holds it, the statement fails
 * with 55P03. Under READ COMMITTED, the statements behind the lock see what its
 * last holder has written.
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
 * {@linkcode lockStream} for REPEATABLE READ and SERIALIZABLE. There, a
 * transaction sees what was committed before its first statement. If another
 * writer committed in between, the lock would be followed by a look at old
 * rows, and two writers would take the same slot. Because the lock also writes
 * the row, the server refuses the second transaction (40001), and the store
 * tries it again on a new snapshot.
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
 * Locks several streams, in any order. With NOWAIT the statement never waits,
 * so it cannot deadlock. Sorting the rows and returning each would account for
 * a fifth of the work.
 */
export const lockStreams = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ${t.streams}
      WHERE stream_id = ANY($1) FOR UPDATE NOWAIT) AS locked`,
    params: ["bpchar[]"],
    columns: ["int8"],
  });

/**
 * {@linkcode lockStreams}, but returns what the minipool cache needs: the
 * streams that exist, the places of their rows, and the number of this
 * transaction.
 */
export const lockStreamsLearning = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, ctid, pg_catalog.pg_current_xact_id()
      FROM ${t.streams} WHERE stream_id = ANY($1) FOR UPDATE NOWAIT`,
    params: ["bpchar[]"],
    columns: ["bpchar", "tid", "xid8"],
  });

/**
 * The reason of the rejection if a stream has changed or the fence is closed.
 * The next attempt, behind the fence itself, shows which.
 */
export const changedReason = "stream_row_changed";

/**
 * Locks the streams $2, whose rows are at $1. Stops the transaction unless $3
 * was the last transaction to lock each row, and has committed;
 * minipool_cache.ts says what follows from that. The statement includes the
 * owner's fence, $4 and $5, which saves a statement. Returns the number of this
 * transaction.
 *
 * Finding a row by its place takes half the time of the index. A row that was
 * written since is at another place, and the row at its old place has another
 * id or another locker. The server returns the rows in the order of their
 * places, so $1 must be in that order. In any other order, the statement would
 * find the streams changed, and they would only be looked at again.
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
 * {@linkcode lockUnchangedStreams} for several lockers: $3 has the locker of
 * each stream, $4 every locker once, and the owner is $5 and $6.
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

/** {@linkcode lockUnchangedStreams} for one stream. */
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
