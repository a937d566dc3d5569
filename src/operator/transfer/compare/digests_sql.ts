/**
 * Statements that reduce a stream's data to digests. Equal data can then be
 * compared without being transferred.
 */

import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";
import { blockBytes, pageEndSql } from "../../../postgres/sql/pages.ts";

const dataDigest = "pg_catalog.sha256(blockdata)";

/** The digest makes no difference between no snapshot and an empty one. */
const snapshotDigest =
  "pg_catalog.sha256(coalesce(snapshot, ''::pg_catalog.bytea))";

/** A page of the blocks $2 to $3. */
const pageOf = (t: StreamTables) =>
  pageEndSql(
    `${t.miniblocks}
      WHERE stream_id = $1 AND seq_num >= $2 AND seq_num <= $3`,
    blockBytes,
  );

/**
 * The first of the blocks $2 to $3, as many as one statement can read: the last
 * block's number, whether more blocks follow, the number and bytes of these
 * blocks, and one digest of them all.
 */
export const selectPageDigest = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (${pageOf(t)})
      SELECT page.last, page.is_more, pg_catalog.count(seq_num),
        coalesce(pg_catalog.sum(${blockBytes}), 0)::bigint,
        pg_catalog.sha256(coalesce(pg_catalog.string_agg(
          pg_catalog.int8send(seq_num) || ${dataDigest} || ${snapshotDigest},
          ''::pg_catalog.bytea ORDER BY seq_num), ''::pg_catalog.bytea))
      FROM page LEFT JOIN ${t.miniblocks} AS block ON block.stream_id = $1
        AND block.seq_num >= $2 AND block.seq_num <= page.last
      GROUP BY page.last, page.is_more`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8?", "bool", "int8", "int8", "bytea"],
  });

/** The same page, one row a block: its number and its digests. */
export const selectBlockDigests = (t: StreamTables) =>
  statement({
    text: `WITH page AS MATERIALIZED (${pageOf(t)})
      SELECT seq_num, ${dataDigest}, ${snapshotDigest}, (${blockBytes})::bigint
      FROM ${t.miniblocks} WHERE stream_id = $1 AND seq_num >= $2
        AND seq_num <= (SELECT last FROM page) ORDER BY seq_num`,
    params: ["bpchar", "int8", "int8"],
    columns: ["int8", "bytea", "bytea", "int8"],
  });

/** The digests of the minipool's rows. */
export const selectMinipoolDigests = (t: StreamTables) =>
  statement({
    text: `SELECT generation, slot_num,
        pg_catalog.sha256(coalesce(envelope, ''::pg_catalog.bytea))
      FROM ${t.minipools} WHERE stream_id = $1
      ORDER BY generation, slot_num`,
    params: ["bpchar"],
    columns: ["int8", "int8", "bytea"],
  });

/** The digests of the candidates. */
export const selectCandidateDigests = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, block_hash::pg_catalog.text, ${dataDigest},
        ${snapshotDigest}
      FROM ${t.candidates} WHERE stream_id = $1
      ORDER BY seq_num, block_hash COLLATE pg_catalog."C"`,
    params: ["bpchar"],
    columns: ["int8", "text", "bytea", "bytea"],
  });
