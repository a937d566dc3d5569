/** Statements over `minipools_*`, the events that wait for a block. */

import { copyManyIn, statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";

/**
 * Adds an event if the stream's blocks are in the database and the minipool is
 * exactly generation $2 with $3 events: its oldest row is the marker of that
 * generation, and its newest is slot $3 - 1. The primary key finds either row
 * in one step, however many events there are. The row count says whether the
 * event was added.
 */
export const insertEvent = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.minipools}
        (stream_id, generation, slot_num, envelope)
      SELECT $1, $2, $3, $4
      FROM ${t.streams} WHERE stream_id = $1 AND blockdata_ext = 'D'
        AND (SELECT generation = $2 AND slot_num = $3 - 1
          FROM ${t.minipools} WHERE stream_id = $1
          ORDER BY generation DESC, slot_num DESC LIMIT 1)
        AND (SELECT generation = $2 AND slot_num = -1
          FROM ${t.minipools} WHERE stream_id = $1
          ORDER BY generation, slot_num LIMIT 1)`,
    params: ["bpchar", "int8", "int8", "bytea"],
  });

/**
 * {@linkcode insertEvent}, unchecked. Valid only behind `lockUnchangedStreams`,
 * which stops the transaction unless the minipool ends as the cache says; a
 * stream that was moved since has a new row. It takes a quarter off the
 * server's work for an event, and its plan has a third of the size.
 */
export const appendEvent = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.minipools}
        (stream_id, generation, slot_num, envelope)
      VALUES ($1, $2, $3, $4)`,
    params: ["bpchar", "int8", "int8", "bytea"],
  });

/**
 * Why an event was not added: where the stream's blocks are, if the stream
 * exists, the oldest and the newest row, and whether this very event is in its
 * slot.
 */
export const selectMinipoolEnds = (t: StreamTables) =>
  statement({
    text: `SELECT es.blockdata_ext::pg_catalog.text, oldest.generation,
        oldest.slot_num, newest.generation, newest.slot_num,
        (SELECT envelope = $4 FROM ${t.minipools}
          WHERE stream_id = $1 AND generation = $2 AND slot_num = $3)
      FROM (VALUES (1)) AS one
      LEFT JOIN ${t.streams} AS es ON es.stream_id = $1
      LEFT JOIN LATERAL (SELECT generation, slot_num FROM ${t.minipools}
        WHERE stream_id = $1
        ORDER BY generation, slot_num LIMIT 1) AS oldest ON true
      LEFT JOIN LATERAL (SELECT generation, slot_num FROM ${t.minipools}
        WHERE stream_id = $1
        ORDER BY generation DESC, slot_num DESC LIMIT 1) AS newest ON true`,
    params: ["bpchar", "int8", "int8", "bytea"],
    columns: ["text?", "int8?", "int8?", "int8?", "int8?", "bool?"],
    once: true,
  });

/** The keys of all rows of a minipool, to describe a broken one. */
export const selectMinipoolKeys = (t: StreamTables) =>
  statement({
    text: `SELECT generation, slot_num FROM ${t.minipools}
      WHERE stream_id = $1 ORDER BY generation, slot_num`,
    params: ["bpchar"],
    columns: ["int8", "int8"],
    once: true,
  });

export const deleteMinipool = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.minipools} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Adds the marker, which says what block is due; it has no envelope. */
export const insertMarker = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.minipools}
        (stream_id, generation, slot_num, envelope)
      VALUES ($1, $2, -1, NULL)`,
    params: ["bpchar", "int8"],
  });

/** Adds the marker of generation 1 to a stream that has only a genesis. */
export const insertMissingMarker = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.minipools}
        (stream_id, generation, slot_num, envelope)
      SELECT $1, 1, -1, NULL WHERE NOT EXISTS (
        SELECT 1 FROM ${t.minipools} WHERE stream_id = $1)
        AND NOT EXISTS (SELECT 1 FROM ${t.miniblocks}
          WHERE stream_id = $1 AND seq_num > 0)`,
    params: ["bpchar"],
  });

export const copyMinipool = (t: StreamTables) =>
  statement({
    text: `COPY ${t.minipools} (stream_id, generation, slot_num, envelope)
      FROM STDIN (FORMAT binary)`,
  });

/** The statements that write a new minipool: its marker and its events. */
export function newMinipoolRows(
  copy: ReturnType<typeof copyMinipool>,
  streamId: string,
  generation: bigint,
  envelopes: readonly Uint8Array[],
) {
  return copyManyIn(copy, ["bpchar", "int8", "int8", "bytea?"], [
    [streamId, generation, -1n, null],
    ...envelopes.map((
      envelope,
      slot,
    ): [string, bigint, bigint, Uint8Array] => [
      streamId,
      generation,
      BigInt(slot),
      envelope,
    ]),
  ]);
}
