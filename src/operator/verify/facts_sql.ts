/**
 * The figures of streams: one row a stream, and one statement a page, so that a
 * page is one snapshot. The statements read no block's data, only the size,
 * which is in the block's row.
 */

import { type Statement, statement } from "../../database/statement.ts";
import type { StreamTables, Template } from "../../postgres/catalog.ts";

/** Which of the tables that a node may lack exist and are readable. */
export interface OptionalTables {
  /** `miniblocks_ext_*`, of media partitions only. */
  external: boolean;
  /** Our own table of deleted streams that still have rows. */
  deletions: boolean;
  /** Our own table of media streams that are being moved. */
  mediaTasks: boolean;
}

const columns = [
  "bpchar", // stream
  "int8?", // latest snapshot
  "bool?", // ephemeral
  "text?", // location
  "bool", // being deleted
  "bool", // being moved
  "int8", // blocks
  "int8?",
  "int8?",
  "int8", // without data
  "int8?", // the last that has a snapshot
  "bool?", // whether the latest snapshot's block has one
  "int8", // rows of the minipool
  "int8?",
  "int8?",
  "int8?",
  "int8?",
  "int8", // rows without an envelope
  "int8?", // a marker's generation
  "int8", // candidates
  "int8?",
  "int8", // without data
  "int8", // blocks outside
  "int8?",
  "int8?",
  "int8", // whose place does not follow the one before
  "bool", // made as a regular stream is
] as const;

/** A statement that returns figures of streams. */
export type FactsStatement<
  P extends readonly ("bpchar" | "bpchar[]" | "int8")[],
> = Statement<P, typeof columns>;

/**
 * The figures of the first $2 streams after id $1 that have any row in this
 * partition.
 */
export const selectFactsAfter = (
  optional: OptionalTables,
): Template<FactsStatement<["bpchar", "int8"]>> =>
(t) =>
  statement({
    text: `WITH RECURSIVE ids (stream_id) AS (
        SELECT ${nextId(t, optional, "$1")}
        UNION ALL
        SELECT ${nextId(t, optional, "ids.stream_id")} FROM ids
        WHERE ids.stream_id IS NOT NULL),
      page AS MATERIALIZED (
        SELECT stream_id FROM ids WHERE stream_id IS NOT NULL LIMIT $2)
      ${factsOf(t, optional)}`,
    params: ["bpchar", "int8"],
    columns,
    once: true,
  });

/** The figures of the streams $1, whether they have rows or not. */
export const selectFactsOf = (
  optional: OptionalTables,
): Template<FactsStatement<["bpchar[]"]>> =>
(t) =>
  statement({
    text: `WITH page AS MATERIALIZED (
        SELECT stream_id FROM pg_catalog.unnest($1) AS given (stream_id))
      ${factsOf(t, optional)}`,
    params: ["bpchar[]"],
    columns,
  });

/**
 * The next id in any of the tables. Through the key's index, the step from one
 * id to the next costs the same for a stream of a million blocks as for one of
 * ten.
 */
function nextId(
  t: StreamTables,
  { external }: OptionalTables,
  after: string,
): string {
  const tables = [t.miniblocks, t.minipools, t.candidates];
  if (external) tables.push(t.external);
  const heads = tables.map((table) =>
    `(SELECT stream_id FROM ${table} WHERE stream_id > ${after}
      ORDER BY stream_id LIMIT 1)`
  );
  return `least(${heads.join(", ")})`;
}

function factsOf(t: StreamTables, optional: OptionalTables): string {
  const isIn = (table: string, condition = "") =>
    `EXISTS (SELECT 1 FROM ${table} AS noted
      WHERE noted.stream_id = page.stream_id${condition})`;
  return `SELECT page.stream_id, es.latest_snapshot_miniblock, es.ephemeral,
      es.blockdata_ext::pg_catalog.text,
      ${optional.deletions ? isIn(t.deletions) : "false"},
      ${
    optional.mediaTasks ? isIn(t.mediaTasks, " AND task = 'offload'") : "false"
  },
      block.n, block.first, block.last, block.bare, block.snapshot,
      (SELECT coalesce(pg_catalog.octet_length(snapshot) > 0, false)
        FROM ${t.miniblocks} AS latest
        WHERE latest.stream_id = page.stream_id
          AND latest.seq_num = es.latest_snapshot_miniblock),
      pool.n, pool.lowest, pool.highest, pool.first, pool.last, pool.bare,
      pool.marker,
      candidate.n, candidate.lowest, candidate.bare,
      place.n, place.first, place.last, place.misfits,
      ${madeWhole(t)}
    FROM page
    LEFT JOIN ${t.streams} AS es ON es.stream_id = page.stream_id
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first,
        pg_catalog.max(seq_num) AS last,
        pg_catalog.count(*) FILTER (
          WHERE pg_catalog.octet_length(blockdata) = 0) AS bare,
        pg_catalog.max(seq_num) FILTER (
          WHERE pg_catalog.octet_length(snapshot) > 0) AS snapshot
      FROM ${t.miniblocks} WHERE stream_id = page.stream_id) AS block
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS n, pg_catalog.min(generation) AS lowest,
        pg_catalog.max(generation) AS highest, pg_catalog.min(slot_num) AS first,
        pg_catalog.max(slot_num) AS last,
        pg_catalog.count(*) FILTER (
          WHERE coalesce(pg_catalog.octet_length(envelope), 0) = 0) AS bare,
        pg_catalog.max(generation) FILTER (WHERE slot_num = -1) AS marker
      FROM ${t.minipools} WHERE stream_id = page.stream_id) AS pool
    CROSS JOIN LATERAL (
      SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS lowest,
        pg_catalog.count(*) FILTER (
          WHERE pg_catalog.octet_length(blockdata) = 0) AS bare
      FROM ${t.candidates} WHERE stream_id = page.stream_id) AS candidate
    CROSS JOIN LATERAL (${
    optional.external ? placesOf(t.external) : noPlaces
  }) AS place`;
}

/**
 * For a stream without a minipool: whether the transaction that wrote its row
 * also wrote block 0, as for every regular stream. An archive stream's row is
 * written before its first block. If a neighbour's row has the same
 * transaction, or there is no neighbour, the answer is unknown, because one
 * transaction may have restored the whole schema.
 */
function madeWhole(t: StreamTables): string {
  const neighbour = (side: string, order: string) =>
    `(SELECT xmin FROM ${t.streams} AS other
      WHERE other.stream_id ${side} page.stream_id
      ORDER BY other.stream_id ${order} LIMIT 1)`;
  const [next, previous] = [neighbour(">", "ASC"), neighbour("<", "DESC")];
  return `CASE WHEN pool.n = 0 THEN coalesce(
      es.xmin = (SELECT xmin FROM ${t.miniblocks} AS genesis
        WHERE genesis.stream_id = page.stream_id AND genesis.seq_num = 0)
      AND es.xmin IS DISTINCT FROM ${next}
      AND es.xmin IS DISTINCT FROM ${previous}
      AND coalesce(${next}, ${previous}) IS NOT NULL,
      false) ELSE false END`;
}

/**
 * The places of blocks in an object. A place fits if it begins where the
 * previous one ends, the first one at 0.
 */
function placesOf(table: string): string {
  return `SELECT pg_catalog.count(*) AS n, pg_catalog.min(seq_num) AS first,
      pg_catalog.max(seq_num) AS last,
      pg_catalog.count(*) FILTER (
        WHERE size <= 0 OR start_byte <> coalesce(ends, 0)) AS misfits
    FROM (SELECT seq_num, start_byte, size,
        pg_catalog.lag(start_byte + size) OVER (ORDER BY seq_num) AS ends
      FROM ${table} WHERE stream_id = page.stream_id) AS place`;
}

const noPlaces = `SELECT 0::bigint AS n, NULL::bigint AS first,
  NULL::bigint AS last, 0::bigint AS misfits`;

/** Those of the streams $1 that have no row in any table of this partition. */
export const selectWithoutRows = (
  { external }: OptionalTables,
): Template<Statement<["bpchar[]"], ["bpchar"]>> =>
(t) => {
  const tables = [t.miniblocks, t.minipools, t.candidates];
  if (external) tables.push(t.external);
  return statement({
    text: `SELECT stream_id
      FROM pg_catalog.unnest($1) AS given (stream_id)
      WHERE ${
      tables.map((table) =>
        `NOT EXISTS (SELECT 1 FROM ${table} AS kept
          WHERE kept.stream_id = given.stream_id)`
      ).join(" AND ")
    }`,
    params: ["bpchar[]"],
    columns: ["bpchar"],
    once: true,
  });
};

/**
 * The last $3 gaps between the numbers of the stream's blocks (from, to), the
 * last first. With $2, the gaps between its blocks in object storage.
 */
export const selectGaps = (
  { external }: OptionalTables,
): Template<Statement<["bpchar", "bool", "int8"], ["int8", "int8"]>> =>
(t) => {
  const numbers = `SELECT seq_num FROM ${t.miniblocks}
    WHERE stream_id = $1 AND NOT $2`;
  const outside = external
    ? ` UNION ALL SELECT seq_num FROM ${t.external}
      WHERE stream_id = $1 AND $2`
    : "";
  return statement({
    text: `SELECT before + 1, seq_num - 1 FROM (
        SELECT seq_num,
          pg_catalog.lag(seq_num) OVER (ORDER BY seq_num) AS before
        FROM (${numbers}${outside}) AS block) AS block
      WHERE before < seq_num - 1 ORDER BY seq_num DESC LIMIT $3`,
    params: ["bpchar", "bool", "int8"],
    columns: ["int8", "int8"],
  });
};

/** The data of the latest snapshot's block, if it has no snapshot beside it. */
export const selectBareLatest = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND coalesce(pg_catalog.octet_length(snapshot), 0) = 0
        AND seq_num = (SELECT latest_snapshot_miniblock FROM ${t.streams}
          WHERE stream_id = $1)`,
    params: ["bpchar"],
    columns: ["bytea"],
  });

/** The keys of the minipool's rows, at most $2. */
export const selectMinipoolKeys = (t: StreamTables) =>
  statement({
    text: `SELECT generation, slot_num FROM ${t.minipools}
      WHERE stream_id = $1 ORDER BY generation, slot_num LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8"],
  });

/** The first numbers, at most $2, of blocks without data. */
export const selectBareBlocks = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num FROM ${t.miniblocks}
      WHERE stream_id = $1 AND pg_catalog.octet_length(blockdata) = 0
      ORDER BY seq_num LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["int8"],
  });

/** The last block from $2 up to $3 that has a snapshot beside it. */
export const selectLastSnapshot = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.max(seq_num) FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
        AND pg_catalog.octet_length(snapshot) > 0`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8?"],
  });

/** The data of the last blocks from $2 up to $3, at most 16, the last first. */
export const selectBlocksBackwards = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, blockdata FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
      ORDER BY seq_num DESC LIMIT 16`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "bytea"],
  });

/** At most $2 streams after id $1, in the order of the key. */
export const selectStreamsAfter = (t: Pick<StreamTables, "streams">) =>
  statement({
    text: `SELECT stream_id, latest_snapshot_miniblock FROM ${t.streams}
      WHERE stream_id > $1 ORDER BY stream_id LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["bpchar", "int8"],
  });

/** Those of the streams $1 that exist. */
export const selectKnown = (t: Pick<StreamTables, "streams">) =>
  statement({
    text: `SELECT stream_id FROM ${t.streams} WHERE stream_id = ANY($1)`,
    params: ["bpchar[]"],
    columns: ["bpchar"],
  });
