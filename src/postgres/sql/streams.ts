/** Statements over `es`, the table of streams. */

import { notOwnerSql, ownerParams } from "../../database/fence.ts";
import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * The lock under which everything of a stream is written. It is never waited
 * for on the server (write_queue.ts says why): 55P03 if somebody else has it.
 * Under READ COMMITTED the statement behind it sees what the last holder of
 * the lock has written.
 */
export const lockStream = (t: StreamTables) =>
  statement({
    text: `SELECT 1 FROM ${t.streams} WHERE stream_id = $1 FOR UPDATE NOWAIT`,
    params: ["bpchar"],
    columns: ["int4"],
  });

/**
 * The same for REPEATABLE READ and SERIALIZABLE, and for a doubted stream, whose
 * row has to be written (known_minipools.ts). There a transaction sees what
 * was committed before its first statement, so the lock would be followed by a
 * look at old rows if another writer ended in between: two would take the same
 * slot. Writing the row makes the server refuse the one who comes second
 * (40001), and it is tried again on a new snapshot.
 */
export const claimStream = (t: StreamTables) =>
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
 * Locks several streams. In no order: who never waits for a lock takes part in
 * no deadlock, and a sort and a row for each would be a fifth of the work.
 */
export const lockStreams = (t: StreamTables) =>
  statement({
    text: `SELECT count(*) FROM (SELECT 1 FROM ${t.streams}
      WHERE stream_id = ANY($1) FOR UPDATE NOWAIT) AS locked`,
    params: ["bpchar[]"],
    columns: ["int8"],
  });

/**
 * The same, and tells which are there, where their rows are, and the number of
 * this transaction.
 */
export const lockStreamsTelling = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, ctid, pg_current_xact_id()
      FROM ${t.streams} WHERE stream_id = ANY($1) FOR UPDATE NOWAIT`,
    params: ["bpchar[]"],
    columns: ["bpchar", "tid", "xid8"],
  });

/**
 * The reason of the rejection when a stream was touched, or the fence is closed:
 * who then tries again behind the fence itself learns which.
 */
export const touchedReason = "stream_touched";

/**
 * Locks the streams $2, whose rows are at $1, and stops the transaction unless
 * transaction $3 was the last to lock each of them, and was committed:
 * known_minipools.ts says what follows from that. The fence of the owner, $4 and
 * $5, is in it, which saves a statement. Tells the number of this transaction.
 *
 * Rows are found by where they are, which takes half the time of the index. A
 * row that was written since is elsewhere, and what is there now has another id
 * or another locker. They come in the order of their places, so $1 must be in
 * that order; in any other they would only be looked at again.
 */
export const lockUntouchedStreams = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 4)}
          OR array_agg(stream_id) IS DISTINCT FROM $2
          OR pg_xact_status($3) IS DISTINCT FROM 'committed'
        THEN ${rejectSql(touchedReason)} END, pg_current_xact_id()
      FROM (SELECT stream_id FROM ${t.streams}
        WHERE ctid = ANY($1) AND xmax = $3::xid
        FOR UPDATE NOWAIT) AS untouched`,
    params: ["tid[]", "bpchar[]", "xid8", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/**
 * The same where there were several lockers: $3 has each stream's, $4 each once,
 * and the owner is $5 and $6.
 */
export const lockUntouchedStreamsOfMany = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 5)}
          OR array_agg(stream_id) IS DISTINCT FROM $2
          OR array_agg(locked_by) IS DISTINCT FROM $3::xid[]
          OR EXISTS (SELECT 1 FROM unnest($4) AS xid
            WHERE pg_xact_status(xid) IS DISTINCT FROM 'committed')
        THEN ${rejectSql(touchedReason)} END, pg_current_xact_id()
      FROM (SELECT stream_id, xmax AS locked_by FROM ${t.streams}
        WHERE ctid = ANY($1) FOR UPDATE NOWAIT) AS untouched`,
    params: ["tid[]", "bpchar[]", "xid8[]", "xid8[]", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/** {@linkcode lockUntouchedStreams} for one. */
export const lockUntouchedStream = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN ${notOwnerSql(t.owner, 4)}
          OR NOT EXISTS (SELECT 1 FROM ${t.streams}
            WHERE ctid = $1 AND stream_id = $2 AND xmax = $3::xid
            FOR UPDATE NOWAIT)
          OR pg_xact_status($3) IS DISTINCT FROM 'committed'
        THEN ${rejectSql(touchedReason)} END, pg_current_xact_id()`,
    params: ["tid", "bpchar", "xid8", ...ownerParams],
    columns: ["int4?", "xid8"],
  });

/** {@linkcode claimStream} for several streams. */
export const claimStreams = (t: StreamTables) =>
  statement({
    text: `WITH locked AS MATERIALIZED (
        SELECT stream_id FROM ${t.streams} WHERE stream_id = ANY($1)
        FOR UPDATE NOWAIT),
      claimed AS (
        UPDATE ${t.streams} AS es
        SET latest_snapshot_miniblock = es.latest_snapshot_miniblock
        FROM locked WHERE es.stream_id = locked.stream_id RETURNING 1)
      SELECT count(*) FROM claimed`,
    params: ["bpchar[]"],
    columns: ["int8"],
  });

/**
 * Adds the stream or stops the transaction, telling whether the stream that is
 * there has an empty genesis, the trace of a creation that was broken off.
 */
export const insertStream = (t: StreamTables) =>
  statement({
    text: `WITH created AS (
        INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
          migrated, ephemeral, blockdata_ext)
        VALUES ($1, 0, true, $2, 'D')
        ON CONFLICT (stream_id) DO NOTHING RETURNING 1)
      SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM created) THEN ${
      rejectSql("stream_exists", {
        repairable: `SELECT count(*) FROM ${t.streams} AS es
          JOIN ${t.miniblocks} AS block ON block.stream_id = es.stream_id
          WHERE es.stream_id = $1 AND ${isRepairable}`,
      })
    } END`,
    params: ["bpchar", "bool"],
    columns: ["int4?"],
  });

/**
 * A whole new stream in one statement: its row, its genesis and the marker of
 * generation 1. Nothing is done when the stream is there, or anything that an
 * earlier one has left. Counts 1 when it was done.
 */
export const insertWholeStream = (t: StreamTables) =>
  statement({
    text: `WITH created AS (
        INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
          migrated, ephemeral, blockdata_ext)
        SELECT $1, 0, true, false, 'D'
        WHERE NOT EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
          AND NOT EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)
        ON CONFLICT (stream_id) DO NOTHING RETURNING stream_id),
      block AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        SELECT stream_id, 0, $2, $3 FROM created)
      INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
      SELECT stream_id, 1, -1, NULL FROM created`,
    params: ["bpchar", "bytea", "bytea?"],
  });

/** The reason of the rejection when anything of an earlier stream is left. */
export const leftoversReason = "leftovers";

/**
 * The rows of several new streams, which takes a good part of the time of one
 * statement each. Fails with 23505 when one of them is there.
 */
export const insertNewStreams = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.streams} (stream_id, latest_snapshot_miniblock,
        migrated, ephemeral, blockdata_ext)
      SELECT stream_id, 0, true, false, 'D' FROM unnest($1) AS stream_id`,
    params: ["bpchar[]"],
  });

/**
 * What {@linkcode insertWholeStream} writes besides that row. It stops the
 * transaction if an earlier stream has left anything, the row must go with it.
 */
export const fillNewStream = (t: StreamTables) =>
  statement({
    text: `WITH block AS (
        INSERT INTO ${t.miniblocks} (stream_id, seq_num, blockdata, snapshot)
        VALUES ($1, CASE
            WHEN EXISTS (SELECT 1 FROM ${t.miniblocks} WHERE stream_id = $1)
              OR EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
              OR EXISTS (SELECT 1 FROM ${t.candidates} WHERE stream_id = $1)
            THEN ${rejectSql(leftoversReason)} ELSE 0 END, $2, $3))
      INSERT INTO ${t.minipools} (stream_id, generation, slot_num, envelope)
      VALUES ($1, 1, -1, NULL)`,
    params: ["bpchar", "bytea", "bytea?"],
  });

const isRepairable = `NOT es.ephemeral AND es.latest_snapshot_miniblock <= 0
  AND block.seq_num = 0 AND octet_length(block.blockdata) = 0`;

/** Fills an empty genesis; see {@linkcode insertStream}. */
export const repairGenesis = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.miniblocks} AS block
      SET blockdata = $2, snapshot = $3
      FROM ${t.streams} AS es
      WHERE es.stream_id = $1 AND block.stream_id = $1 AND ${isRepairable}`,
    params: ["bpchar", "bytea", "bytea?"],
  });

/** Removes the stream's row or stops the transaction. */
export const deleteStreamRow = (t: StreamTables) =>
  statement({
    text: `WITH deleted AS (
        DELETE FROM ${t.streams} WHERE stream_id = $1 RETURNING 1)
      SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM deleted)
        THEN ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** The number of the latest snapshot's block. */
export const updateHead = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $2
      WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
  });

export const selectStreamIds = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id FROM ${t.streams} WHERE stream_id > $1
      ORDER BY stream_id LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar"],
  });

export const countStreams = (t: StreamTables) =>
  statement({
    text: `SELECT count(*) FROM ${t.streams}`,
    columns: ["int8"],
  });

/** Makes a regular stream of an ephemeral or archived one. */
export const regularizeStream = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams}
      SET ephemeral = false, latest_snapshot_miniblock = $2
      WHERE stream_id = $1`,
    params: ["bpchar", "int8"],
  });

/** Whether the stream is ephemeral, and where its blocks are. */
export const selectStreamRow = (t: StreamTables) =>
  statement({
    text: `SELECT ephemeral, blockdata_ext::text FROM ${t.streams}
      WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["bool", "text"],
  });

/** Starts the age of an ephemeral stream. */
export const insertEphemeralAge = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.ephemeralAges} AS age (stream_id) VALUES ($1)
      ON CONFLICT (stream_id) DO UPDATE SET created_at = now()`,
    params: ["bpchar"],
  });

export const deleteEphemeralAge = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.ephemeralAges} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Stops the transaction unless the stream is there. */
export const checkStream = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN NOT EXISTS (
        SELECT 1 FROM ${t.streams} WHERE stream_id = $1)
      THEN ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Stops the transaction unless the stream is there and ephemeral. */
export const checkEphemeral = (t: StreamTables) =>
  statement({
    text: `SELECT CASE (SELECT ephemeral FROM ${t.streams}
        WHERE stream_id = $1)
      WHEN true THEN NULL
      WHEN false THEN ${rejectSql("stream_not_ephemeral")}
      ELSE ${rejectSql("stream_not_found")} END`,
    params: ["bpchar"],
    columns: ["int4?"],
  });

/** Stops the transaction where trimming to $2 and clearing $3 is refused. */
export const checkTrim = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
        WHEN latest IS NULL THEN ${rejectSql("stream_not_found")}
        WHEN ext <> 'D' THEN ${rejectSql("stored_externally")}
        WHEN $2 > latest THEN ${
      rejectSql("above_latest_snapshot", { latest: "latest" })
    }
        WHEN latest = ANY($3) THEN ${
      rejectSql("latest_snapshot_protected", { latest: "latest" })
    } END
      FROM (VALUES ((SELECT greatest(latest_snapshot_miniblock, 0)
          FROM ${t.streams} WHERE stream_id = $1),
        (SELECT blockdata_ext FROM ${t.streams} WHERE stream_id = $1)))
        AS stream (latest, ext)`,
    params: ["bpchar", "int8", "int8[]"],
    columns: ["int4?"],
  });
