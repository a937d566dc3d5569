/**
 * Statements for the trimmer. Sizes are those of the values; large values are
 * measured without being read.
 */

import { rejectSql } from "../../database/rejection.ts";
import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { isAbout } from "./incarnations.ts";

/**
 * What decides whether and how a stream may be trimmed: its row; whether it has
 * a minipool; the number of its blocks, the first and the last, and the first
 * above genesis; whether a snapshot stands beside the block of the latest one
 * and, if not, that block's data. One statement, so that all is of one moment:
 * a later one might find the block moved into object storage, and the stream
 * would look damaged.
 */
export const selectTrimState = (t: StreamTables) =>
  statement({
    text: `SELECT greatest(latest_snapshot_miniblock, 0), ephemeral,
        blockdata_ext::pg_catalog.text,
        EXISTS (SELECT 1 FROM ${t.minipools} WHERE stream_id = $1),
        block.n, block.first, block.last, block.above_genesis,
        coalesce((SELECT pg_catalog.octet_length(snapshot) > 0
          FROM ${t.miniblocks} WHERE stream_id = $1
            AND seq_num = greatest(latest_snapshot_miniblock, 0)), false),
        (SELECT blockdata FROM ${t.miniblocks} WHERE stream_id = $1
          AND latest_snapshot_miniblock > 0
          AND seq_num = latest_snapshot_miniblock
          AND coalesce(pg_catalog.octet_length(snapshot), 0) = 0)
      FROM ${t.streams} AS es LEFT JOIN LATERAL (
        SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first,
          pg_catalog.max(seq_num) AS last,
          pg_catalog.min(seq_num) FILTER (WHERE seq_num > 0) AS above_genesis
        FROM ${t.miniblocks} WHERE stream_id = $1) AS block ON true
      WHERE es.stream_id = $1`,
    params: ["bpchar"],
    columns: [
      "int8",
      "bool",
      "text",
      "bool",
      "int8",
      "int8?",
      "int8?",
      "int8?",
      "bool",
      "bytea?",
    ],
  });

/** The last of the blocks $2 to $3 with a snapshot beside it. */
export const selectSnapshotBelow = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
        AND pg_catalog.octet_length(snapshot) > 0
      ORDER BY seq_num DESC LIMIT 1`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8"],
  });

/** The first $4 of the blocks $2 to $3 with a snapshot beside them. */
export const selectSnapshots = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
        AND pg_catalog.octet_length(snapshot) > 0
      ORDER BY seq_num LIMIT $4`,
    params: ["bpchar", "int8", "int8", "int8"],
    columns: ["int8"],
  });

/** The data of these blocks. */
export const selectDataOf = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num = ANY($2)`,
    params: ["bpchar", "int8[]"],
    columns: ["int8", "bytea"],
  });

/** Counts the blocks above $2 with a snapshot beside them, up to $3. */
export const countSnapshotsAbove = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ${t.miniblocks}
        WHERE stream_id = $1 AND seq_num > $2
          AND pg_catalog.octet_length(snapshot) > 0
        LIMIT $3) AS snapshots`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8"],
  });

/**
 * Stops the transaction unless it sees all that justifies a step of a plan,
 * whatever was found before. Without this check, a plan from before a failover
 * that lost commits would remove blocks that the stream needs as it is now.
 *
 * - The stream is a regular one in the database. Its latest snapshot is $2 or
 *   later, and not among those to be cleared ($7). Its last block is $3 or
 *   later.
 * - The blocks from $4 to below $5 are to be removed, and none is below them.
 *   If there are any, none is missing from the cut $6 to block $2.
 * - Each of the blocks $8 has a snapshot beside it.
 * - Each of the blocks $9 holds a snapshot inside: its data has the SHA-256 in
 *   $10, that of the data in which the snapshot was found.
 */
export const checkCut = (t: StreamTables) =>
  statement({
    text: `SELECT CASE
        WHEN latest IS NULL OR latest < $2 OR latest = ANY($7)
          OR NOT EXISTS (SELECT 1 FROM ${t.miniblocks}
            WHERE stream_id = $1 AND seq_num >= $3)
          OR EXISTS (SELECT 1 FROM ${t.miniblocks}
            WHERE stream_id = $1 AND seq_num < $4)
          OR ($4 < $5 AND (SELECT pg_catalog.count(*) FROM ${t.miniblocks}
            WHERE stream_id = $1 AND seq_num >= $6 AND seq_num <= $2)
            <> $2 - $6 + 1)
          OR EXISTS (SELECT 1 FROM pg_catalog.unnest($8) AS beside (number)
            WHERE (SELECT pg_catalog.octet_length(snapshot) > 0
              FROM ${t.miniblocks}
              WHERE stream_id = $1 AND seq_num = beside.number) IS NOT TRUE)
          OR EXISTS (SELECT 1 FROM unnest($9, $10) AS inside (number, hash)
            WHERE (SELECT pg_catalog.sha256(blockdata) FROM ${t.miniblocks}
              WHERE stream_id = $1 AND seq_num = inside.number)
              IS DISTINCT FROM inside.hash)
        THEN ${rejectSql("stream_changed")} END
      FROM (VALUES ((SELECT greatest(latest_snapshot_miniblock, 0)
        FROM ${t.streams} WHERE stream_id = $1
          AND NOT ephemeral AND blockdata_ext = 'D'))) AS stream (latest)`,
    params: [
      "bpchar",
      "int8",
      "int8",
      "int8",
      "int8",
      "int8",
      "int8[]",
      "int8[]",
      "int8[]",
      "bytea[]",
    ],
    columns: ["int4?"],
  });

/** Deletes the blocks from $2 to below $3; returns their number and bytes. */
export const deleteMeasured = (t: StreamTables) =>
  statement({
    text: `WITH gone AS (
        DELETE FROM ${t.miniblocks}
        WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3
        RETURNING pg_catalog.octet_length(blockdata)
          + coalesce(pg_catalog.octet_length(snapshot), 0) AS bytes)
      SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(bytes), 0)::bigint
      FROM gone`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "int8"],
  });

/** What {@linkcode deleteMeasured} would delete. */
export const measureBlocks = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*),
        coalesce(pg_catalog.sum(pg_catalog.octet_length(blockdata)
          + coalesce(pg_catalog.octet_length(snapshot), 0)), 0)::bigint
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num < $3`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "int8"],
  });

/** Clears the snapshots of blocks $2, and returns their number and bytes. */
export const clearMeasured = (t: StreamTables) =>
  statement({
    text: `WITH old AS MATERIALIZED (
        SELECT seq_num, pg_catalog.octet_length(snapshot) AS bytes
        FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num = ANY($2)
          AND pg_catalog.octet_length(snapshot) > 0),
      cleared AS (
        UPDATE ${t.miniblocks} SET snapshot = NULL
        WHERE stream_id = $1 AND seq_num = ANY(ARRAY(SELECT seq_num FROM old)))
      SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(bytes), 0)::bigint
      FROM old`,
    params: ["bpchar", "int8[]"],
    columns: ["int8", "int8"],
  });

/** What {@linkcode clearMeasured} would clear. */
export const measureSnapshots = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*), coalesce(
        pg_catalog.sum(pg_catalog.octet_length(snapshot)), 0)::bigint
      FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num = ANY($2)
        AND pg_catalog.octet_length(snapshot) > 0`,
    params: ["bpchar", "int8[]"],
    columns: ["int8", "int8"],
  });

/** At most $2 streams after id $1, with what decides whether to trim them. */
export const selectTrimmingPage = (t: StreamTables) =>
  statement({
    text: `SELECT stream_id, greatest(latest_snapshot_miniblock, 0),
        ephemeral OR blockdata_ext <> 'D',
        (SELECT snapshot FROM ${t.trimmingMarks} AS mark
          WHERE mark.stream_id = es.stream_id AND ${isAbout("mark")})
      FROM ${t.streams} AS es WHERE stream_id COLLATE pg_catalog."C" > $1
      ORDER BY stream_id COLLATE pg_catalog."C" LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar", "int8", "bool", "int8?"],
  });

/** The stream's latest snapshot, and the one at which it was trimmed last. */
export const selectTrimmingMark = (t: StreamTables) =>
  statement({
    text: `SELECT greatest(latest_snapshot_miniblock, 0),
        (SELECT snapshot FROM ${t.trimmingMarks} AS mark
          WHERE stream_id = $1 AND ${isAbout("mark")})
      FROM ${t.streams} AS es WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "int8?"],
  });

/**
 * Records that the stream was trimmed when its latest snapshot was $2. Does
 * nothing if the stream was deleted or created anew meanwhile.
 */
export const upsertTrimmingMark = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.trimmingMarks} (stream_id, snapshot, incarnation)
      SELECT $1, $2, stream_storage_incarnation FROM ${t.streams}
      WHERE stream_id = $1 AND latest_snapshot_miniblock >= $2
      ON CONFLICT (stream_id) DO UPDATE SET snapshot = excluded.snapshot,
        incarnation = excluded.incarnation`,
    params: ["bpchar", "int8"],
  });

export const deleteTrimmingMark = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.trimmingMarks} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** Where worker $1 continues; no row if it never began. */
export const selectCursor = (t: StreamTables) =>
  statement({
    text: `SELECT cursor FROM ${t.workers}
      WHERE name::pg_catalog.text = $1`,
    params: ["text"],
    columns: ["varchar?"],
  });

export const upsertCursor = (t: StreamTables) =>
  statement({
    text: `INSERT INTO ${t.workers} (name, cursor) VALUES ($1, $2)
      ON CONFLICT (name) DO UPDATE
      SET cursor = excluded.cursor, updated_at = pg_catalog.now()`,
    params: ["varchar", "varchar?"],
  });
