/** Queries about one stream. */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../../postgres/catalog.ts";

/** The last $2 blocks that have a snapshot beside them, and its size. */
export const selectSnapshotSizes = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, pg_catalog.octet_length(snapshot)::pg_catalog.int8
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND pg_catalog.octet_length(snapshot) > 0
      ORDER BY seq_num DESC LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["int8", "int8"],
  });

/** Generations and slots of the minipool. */
export const selectMinipoolExtent = (t: StreamTables) =>
  statement({
    text: `SELECT pg_catalog.count(*), pg_catalog.min(generation),
        pg_catalog.max(generation), pg_catalog.min(slot_num),
        pg_catalog.max(slot_num)
      FROM ${t.minipools} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "int8?", "int8?", "int8?", "int8?"],
  });

/** The last $2 candidates: number, hash, size, size of the snapshot. */
export const selectCandidateSizes = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, block_hash, pg_catalog.octet_length(blockdata)
        ::pg_catalog.int8,
        coalesce(pg_catalog.octet_length(snapshot), 0)::pg_catalog.int8
      FROM ${t.candidates} WHERE stream_id = $1
      ORDER BY seq_num DESC, block_hash LIMIT $2`,
    params: ["bpchar", "int8"],
    columns: ["int8", "bpchar", "int8", "int8"],
  });

/** At most $4 blocks from $2 up to $3: number, size, size of the snapshot. */
export const selectBlockSizes = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, pg_catalog.octet_length(blockdata)::pg_catalog.int8,
        coalesce(pg_catalog.octet_length(snapshot), 0)::pg_catalog.int8
      FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
      ORDER BY seq_num LIMIT $4`,
    params: ["bpchar", "int8", "int8", "int8"],
    columns: ["int8", "int8", "int8"],
  });

/**
 * The same for blocks in object storage, with the byte at which each begins.
 */
export const selectPlaces = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, size, start_byte FROM ${t.external}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3
      ORDER BY seq_num LIMIT $4`,
    params: ["bpchar", "int8", "int8", "int8"],
    columns: ["int8", "int8", "int8"],
  });

/** Block $2 with its data. */
export const selectBlock = (t: StreamTables) =>
  statement({
    text: `SELECT blockdata, snapshot FROM ${t.miniblocks}
      WHERE stream_id = $1 AND seq_num = $2`,
    params: ["bpchar", "int8"],
    columns: ["bytea", "bytea?"],
  });
