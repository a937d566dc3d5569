/** Statements that read all of a stream except its blocks. */

import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";

/** The stream's row, with the transaction that wrote it, and its last block. */
export const selectStreamHead = (t: StreamTables) =>
  statement({
    text: `SELECT latest_snapshot_miniblock, ephemeral,
        blockdata_ext::pg_catalog.text, xmin::pg_catalog.text::bigint,
        (SELECT seq_num FROM ${t.miniblocks} WHERE stream_id = $1
          ORDER BY seq_num DESC LIMIT 1)
      FROM ${t.streams} WHERE stream_id = $1`,
    params: ["bpchar"],
    columns: ["int8", "bool", "text", "int8", "int8?"],
  });

/** The minipool's rows, in order. */
export const selectMinipool = (t: StreamTables) =>
  statement({
    text: `SELECT generation, slot_num, envelope FROM ${t.minipools}
      WHERE stream_id = $1 ORDER BY generation, slot_num`,
    params: ["bpchar"],
    columns: ["int8", "int8", "bytea?"],
  });

/** The candidates, in order. */
export const selectCandidates = (t: StreamTables) =>
  statement({
    text: `SELECT seq_num, block_hash::pg_catalog.text, blockdata, snapshot
      FROM ${t.candidates} WHERE stream_id = $1
      ORDER BY seq_num, block_hash COLLATE pg_catalog."C"`,
    params: ["bpchar"],
    columns: ["int8", "text", "bytea", "bytea?"],
  });

/** The server's version, as the server reports it. */
export const selectServerVersion = statement({
  text: "SELECT pg_catalog.current_setting('server_version')",
  columns: ["text"],
});
