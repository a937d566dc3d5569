/** What our own table, if it exists, keeps of blocks in object storage. */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../catalog.ts";
import { isAbout } from "./incarnations.ts";

/** SQL that joins our row `own` to a `block` of the stream `es` ($1). */
export function joinOwnBlocks(t: StreamTables): string {
  if (t.own === "absent") {
    return `CROSS JOIN (SELECT NULL::pg_catalog.bytea AS sha256,
          NULL::pg_catalog.bytea AS snapshot, NULL::boolean AS holds_snapshot)
          AS own`;
  }
  const ofIncarnation = t.own === "current" ? `AND ${isAbout("own")}` : "";
  return `LEFT JOIN ${t.mediaBlocks} AS own
          ON own.stream_id = $1 AND own.seq_num = block.seq_num
            ${ofIncarnation}`;
}

/** Which of the `OwnTables` schema $1 has. */
export const selectOwnTables = statement({
  text: `SELECT CASE
      WHEN own.oid IS NULL THEN 'absent'
      WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_attribute
        WHERE attrelid = own.oid AND attname = 'incarnation'
          AND NOT attisdropped) THEN 'current'
      ELSE 'older' END
    FROM (VALUES (1)) AS one (n)
    LEFT JOIN (SELECT class.oid FROM pg_catalog.pg_class AS class
      JOIN pg_catalog.pg_namespace AS schema ON schema.oid = class.relnamespace
      WHERE schema.nspname = $1
        AND class.relname = 'stream_storage_media_blocks') AS own ON true`,
  params: ["text"],
  columns: ["text"],
});
