/** Inserts rows into the tables without the store: fast, and never timed. */

import type { StreamTables } from "../src/postgres/catalog.ts";
import type { StreamId } from "../src/storage/stream_id.ts";
import type { Setup } from "./setup.ts";

/** What each inserted stream consists of; sizes are multiples of 16. */
export interface Shape {
  /** Blocks from number 0 on, the first with a snapshot. Default 1. */
  miniblocks?: number;
  /** Default 1024. */
  miniblockBytes?: number;
  /** Events in the minipool. Default 0. */
  events?: number;
  /** Default 1024. */
  eventBytes?: number;
}

/** How many streams one transaction inserts. */
const streamsPerScript = 5000;

/** Inserts streams that all have the same shape. */
export async function insertStreams(
  setup: Setup,
  streamIds: readonly StreamId[],
  shape: Shape,
  onProgress?: (inserted: number) => void,
): Promise<void> {
  for (let from = 0; from < streamIds.length; from += streamsPerScript) {
    const part = streamIds.slice(from, from + streamsPerScript);
    await setup.direct.query(scriptFor(setup, part, shape));
    onProgress?.(from + part.length);
  }
}

function scriptFor(
  setup: Setup,
  streamIds: readonly StreamId[],
  shape: Shape,
): string {
  const groups = Map.groupBy(streamIds, (id) => setup.catalog.tablesOf(id));
  const { streams } = setup.catalog.tablesAt("r00");
  return [
    `INSERT INTO ${streams} (stream_id, latest_snapshot_miniblock, migrated)
     SELECT id, 0, true FROM ${unnest(streamIds)}`,
    ...Array.from(groups, ([tables, ids]) => rowsFor(tables, ids, shape)),
  ].join(";\n");
}

function rowsFor(
  tables: StreamTables,
  streamIds: readonly StreamId[],
  { miniblocks = 1, miniblockBytes = 1024, events = 0, eventBytes = 1024 }:
    Shape,
): string {
  const ids = unnest(streamIds);
  return `INSERT INTO ${tables.miniblocks}
      (stream_id, seq_num, blockdata, snapshot)
    SELECT id, n, ${bytesOf(miniblockBytes)},
      CASE WHEN n = 0 THEN ${bytesOf(64)} END
    FROM ${ids}, generate_series(0, ${miniblocks - 1}) AS n;
    INSERT INTO ${tables.minipools}
      (stream_id, generation, slot_num, envelope)
    SELECT id, ${miniblocks}, n,
      CASE WHEN n >= 0 THEN ${bytesOf(eventBytes)} END
    FROM ${ids}, generate_series(-1, ${events - 1}) AS n`;
}

function unnest(streamIds: readonly StreamId[]): string {
  return `unnest('{${streamIds.join()}}'::char(64)[]) AS id`;
}

/**
 * SQL for a bytea that differs from row to row. Nothing compresses these
 * columns.
 */
function bytesOf(size: number): string {
  return `decode(repeat(md5(n::text), ${size / 16}), 'hex')`;
}

/** How many rows a set of streams has. */
export interface RowCounts {
  streams: number;
  miniblocks: number;
  /** The minipools' markers are not counted. */
  events: number;
}

/** Counts the stored rows of the streams. */
export async function countRows(
  setup: Setup,
  streamIds: readonly StreamId[],
): Promise<RowCounts> {
  const counts = { streams: 0, miniblocks: 0, events: 0 };
  const groups = Map.groupBy(streamIds, (id) => setup.catalog.tablesOf(id));
  for (const [tables, ids] of groups) {
    const { rows: [row] } = await setup.direct.query(
      `SELECT (SELECT count(*)::int FROM ${tables.streams}
          WHERE stream_id = ANY($1)) AS streams,
        (SELECT count(*)::int FROM ${tables.miniblocks}
          WHERE stream_id = ANY($1)) AS miniblocks,
        (SELECT count(*)::int FROM ${tables.minipools}
          WHERE stream_id = ANY($1) AND slot_num >= 0) AS events`,
      [ids],
    );
    counts.streams += row.streams;
    counts.miniblocks += row.miniblocks;
    counts.events += row.events;
  }
  return counts;
}
