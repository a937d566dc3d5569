/** Statements that write a stream as it comes from elsewhere. */

import { rejectSql } from "../../../database/rejection.ts";
import { statement } from "../../../database/statement.ts";
import type { StreamTables } from "../../../postgres/catalog.ts";

/** The reason of {@linkcode checkStaged}. */
export const notStagedReason = "not_staged";

/** Stops the transaction unless just $2 blocks were staged. */
export const checkStaged = (t: StreamTables) =>
  statement({
    text: `SELECT CASE WHEN (SELECT pg_catalog.count(*) FROM ${t.miniblocks}
        WHERE stream_id = $1) <> $2
      THEN ${rejectSql(notStagedReason)} END`,
    params: ["bpchar", "int8"],
    columns: ["int4?"],
  });

export const deleteCandidates = (t: StreamTables) =>
  statement({
    text: `DELETE FROM ${t.candidates} WHERE stream_id = $1`,
    params: ["bpchar"],
  });

/** The latest snapshot moves up to $2 only. */
export const raiseHead = (t: StreamTables) =>
  statement({
    text: `UPDATE ${t.streams} SET latest_snapshot_miniblock = $2
      WHERE stream_id = $1 AND latest_snapshot_miniblock < $2`,
    params: ["bpchar", "int8"],
  });
