/**
 * The tables that a schema must have, according to the specification and the
 * migrations.
 */

import { partitionSuffixes } from "../../database/migrations/plan.ts";

/**
 * A column's type as PostgreSQL writes it, and its deviations from the
 * defaults.
 */
export interface ColumnShape {
  type: string;
  /** Whether it may be null. Default false. */
  nullable?: boolean;
  /** How values are stored; undefined: either way. */
  storage?: "plain" | "external";
  /**
   * The version of our own track that added it; undefined: the version of its
   * table.
   */
  own?: number;
}

/** A table. */
export interface TableShape {
  name: string;
  columns: Readonly<Record<string, ColumnShape>>;
  /** The primary key; undefined: none is required. */
  key?: readonly string[];
  /** Other required indexes and triggers, by name. */
  extras?: readonly string[];
  /** The partition that the table belongs to. */
  suffix?: string;
}

const id: ColumnShape = { type: "character(64)", storage: "plain" };
const plainId: ColumnShape = { type: "character(64)" };
const number: ColumnShape = { type: "bigint" };
const flag: ColumnShape = { type: "boolean" };
const data: ColumnShape = { type: "bytea", storage: "external" };
const noData: ColumnShape = { ...data, nullable: true };
const text: ColumnShape = { type: "text" };
const varying: ColumnShape = { type: "character varying" };
const time: ColumnShape = { type: "timestamp with time zone" };
const incarnation: ColumnShape = { type: "uuid", nullable: true, own: 8 };

const nodeTables: readonly TableShape[] = [
  {
    name: "es",
    columns: {
      stream_id: id,
      latest_snapshot_miniblock: number,
      migrated: flag,
      ephemeral: flag,
      blockdata_ext: { type: "character(1)" },
      stream_storage_incarnation: incarnation,
    },
    key: ["stream_id"],
    extras: ["idx_es_ephemeral"],
  },
  {
    name: "settings",
    columns: { single_row_key: flag, num_partitions: { type: "integer" } },
    key: ["single_row_key"],
  },
  {
    name: "singlenodekey",
    columns: {
      uuid: varying,
      storage_connection_time: { type: "timestamp without time zone" },
      info: varying,
    },
    extras: ["notify_on_singlenodekey_upserts"],
  },
];

/** Our own tables, with the version of our track that added each. */
const ownTables: readonly (TableShape & { version: number })[] = [
  {
    version: 1,
    name: "stream_storage_ephemeral",
    columns: { stream_id: plainId, created_at: time, incarnation },
    key: ["stream_id"],
  },
  {
    version: 2,
    name: "stream_storage_trimming",
    columns: { stream_id: plainId, snapshot: number, incarnation },
    key: ["stream_id"],
  },
  {
    version: 2,
    name: "stream_storage_workers",
    columns: {
      name: varying,
      cursor: { ...varying, nullable: true },
      updated_at: time,
    },
    key: ["name"],
  },
  {
    version: 3,
    name: "stream_storage_media_blocks",
    columns: {
      stream_id: plainId,
      seq_num: number,
      sha256: { type: "bytea" },
      snapshot: { type: "bytea", nullable: true },
      holds_snapshot: flag,
      incarnation,
    },
    key: ["stream_id", "seq_num"],
  },
  {
    version: 3,
    name: "stream_storage_media_tasks",
    columns: {
      stream_id: plainId,
      task: text,
      due_at: time,
      attempts: number,
      reason: { ...text, nullable: true },
      incarnation,
    },
    key: ["stream_id"],
    extras: ["stream_storage_media_tasks_due"],
  },
  {
    version: 5,
    name: "stream_storage_media_changes",
    columns: {
      stream_id: plainId,
      change: number,
      signed_at: time,
      upload: { ...text, nullable: true },
      due_at: time,
    },
    key: ["stream_id", "change"],
    extras: ["stream_storage_media_changes_due"],
  },
  {
    version: 7,
    name: "stream_storage_deletions",
    columns: { stream_id: plainId, deleted_at: time },
    key: ["stream_id"],
  },
];

/** The tables of a partition. */
export function partitionTables(suffix: string): TableShape[] {
  const blocks = { stream_id: id, seq_num: number };
  const places = suffix.startsWith("m")
    ? [{
      suffix,
      name: `miniblocks_ext_${suffix}`,
      columns: {
        stream_id: plainId,
        seq_num: number,
        start_byte: number,
        size: number,
      },
      key: ["stream_id", "seq_num"],
    }]
    : [];
  return [
    {
      suffix,
      name: `miniblocks_${suffix}`,
      columns: { ...blocks, blockdata: data, snapshot: noData },
      key: ["stream_id", "seq_num"],
    },
    {
      suffix,
      name: `minipools_${suffix}`,
      columns: {
        stream_id: id,
        generation: number,
        slot_num: number,
        envelope: noData,
      },
      key: ["stream_id", "generation", "slot_num"],
    },
    {
      suffix,
      name: `miniblock_candidates_${suffix}`,
      columns: {
        ...blocks,
        block_hash: id,
        blockdata: data,
        snapshot: noData,
      },
      key: ["stream_id", "seq_num", "block_hash"],
    },
    ...places,
  ];
}

/** Every table that a schema of these partitions and versions must have. */
export function expectedTables(
  { partitions, ownVersion }: { partitions: number; ownVersion: number },
): TableShape[] {
  return [
    ...nodeTables.map((table) => upTo(ownVersion, table)),
    ...ownTables.filter(({ version }) => version <= ownVersion)
      .map((table) => upTo(ownVersion, table)),
    ...partitionSuffixes(partitions).flatMap(partitionTables),
  ];
}

/** The table with the columns that it has at a version of our own track. */
function upTo(ownVersion: number, table: TableShape): TableShape {
  const columns = Object.entries(table.columns)
    .filter(([, { own = 0 }]) => own <= ownVersion);
  return { ...table, columns: Object.fromEntries(columns) };
}
