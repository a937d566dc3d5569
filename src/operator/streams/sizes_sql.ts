/**
 * The sizes of streams, one row a stream. The statements read no large value,
 * only its size, which stands in the row or in the pointer to the value.
 */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../../postgres/catalog.ts";

const columns = [
  "bpchar", // stream
  "int8", // latest snapshot
  "bool", // ephemeral
  "text", // location
  "int8", // blocks
  "int8?",
  "int8?",
  "int8", // bytes of their data
  "int8", // snapshots beside them
  "int8",
  "int8", // bytes before the latest snapshot
  "int8", // events in the minipool
  "int8",
  "int8", // candidates
  "int8",
  "int8", // blocks outside
  "int8?",
  "int8?",
  "int8",
] as const;

/** A sum of sizes; without rows, 0 instead of null. */
const sumOf = (expression: string) =>
  `coalesce(pg_catalog.sum(${expression}), 0)::pg_catalog.int8`;

const data = "pg_catalog.octet_length(blockdata)";
const snapshot = "coalesce(pg_catalog.octet_length(snapshot), 0)";

const sizesSql = (t: StreamTables, isMedia: boolean) =>
  `SELECT es.stream_id, es.latest_snapshot_miniblock, es.ephemeral,
      es.blockdata_ext::pg_catalog.text,
      block.n, block.first, block.last, block.bytes, block.snapshots,
      block.beside, block.before, pool.n, pool.bytes, candidate.n,
      candidate.bytes, place.n, place.first, place.last, place.bytes
    FROM ${t.streams} AS es
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first,
        pg_catalog.max(seq_num) AS last, ${sumOf(data)} AS bytes,
        pg_catalog.count(*) FILTER (WHERE ${snapshot} > 0) AS snapshots,
        ${sumOf(snapshot)} AS beside,
        coalesce(pg_catalog.sum(${data} + ${snapshot}) FILTER (
          WHERE seq_num < es.latest_snapshot_miniblock), 0)::pg_catalog.int8
          AS before
      FROM ${t.miniblocks} WHERE stream_id = es.stream_id) AS block
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) FILTER (WHERE slot_num >= 0) AS n,
        ${sumOf("pg_catalog.octet_length(envelope)")} AS bytes
      FROM ${t.minipools} WHERE stream_id = es.stream_id) AS pool
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS n, ${
    sumOf(`${data} + ${snapshot}`)
  } AS bytes
      FROM ${t.candidates} WHERE stream_id = es.stream_id) AS candidate
    CROSS JOIN LATERAL (${
    isMedia
      ? `SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first,
        pg_catalog.max(seq_num) AS last, ${sumOf("size")} AS bytes
      FROM ${t.external} WHERE stream_id = es.stream_id`
      : `SELECT 0::pg_catalog.int8 AS n, NULL::pg_catalog.int8 AS first,
        NULL::pg_catalog.int8 AS last, 0::pg_catalog.int8 AS bytes`
  }) AS place
    WHERE es.stream_id = ANY($1)`;

/** The sizes of the streams $1, which are in this partition. */
export const selectSizes = (t: StreamTables) =>
  statement({
    text: sizesSql(t, t.suffix.startsWith("m")),
    params: ["bpchar[]"],
    columns,
  });

/** At most $2 streams after id $1: whether ephemeral, where, latest snapshot. */
export const selectRowsAfter = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, ephemeral, blockdata_ext::pg_catalog.text,
        latest_snapshot_miniblock
      FROM ${t.streams} WHERE stream_id > $1 ORDER BY stream_id LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar", "bool", "text", "int8"],
  });

/** Counts all streams. */
export const countRows = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM ${t.streams}`,
    columns: ["int8"],
  });
