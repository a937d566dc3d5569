/** The tables whose rows a repair removes, and how large their rows are. */

import type { StreamTables } from "../../postgres/catalog.ts";
import { blockBytes } from "../../postgres/sql/pages.ts";

/** One of a partition's tables. */
export type RowTable = keyof typeof rowTables;

export const rowTables = {
  miniblocks: { keys: ["seq_num"], bytes: blockBytes },
  miniblocks_ext: { keys: ["seq_num"], bytes: "32" },
  minipools: {
    keys: ["generation", "slot_num"],
    bytes: "coalesce(pg_catalog.octet_length(envelope), 0)",
  },
  miniblock_candidates: {
    keys: ["seq_num", "block_hash"],
    bytes: blockBytes,
  },
} as const;

/** The table's quoted name in a partition. */
export function nameIn(t: StreamTables, table: RowTable): string {
  return {
    miniblocks: t.miniblocks,
    miniblocks_ext: t.external,
    minipools: t.minipools,
    miniblock_candidates: t.candidates,
  }[table];
}

/** Reads a name such as `miniblocks_ext_m00`. */
export function splitTableName(
  name: string,
): { table: RowTable; suffix: string } | undefined {
  const [, table, suffix] = /^(.+)_([rm][0-9a-f]{2})$/.exec(name) ?? [];
  return suffix !== undefined && table! in rowTables
    ? { table: table as RowTable, suffix }
    : undefined;
}
