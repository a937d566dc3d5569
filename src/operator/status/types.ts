/** What is told of a store. */

import type { LockHolder } from "../../database/lock_holder.ts";
import type { TrackVersions } from "../../database/migrations/mod.ts";
import type { OwnerFacts } from "../../database/ownership/rows.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import type { StorePlacement } from "../cluster/types.ts";
import type { ServerOptions } from "../session.ts";

/** The server of a store. */
export interface ServerStatus {
  /** Of PostgreSQL. */
  version: string;
  /** The database's name. */
  database: string;
  /** Whether it is a hot standby, where the owner's lock can't be seen. */
  isStandby: boolean;
  /** When it was started. */
  startedAt: string;
  /** Connections of clients to all of its databases. */
  connections: bigint;
  /** How many it allows. */
  maxConnections: bigint;
  /** Of the whole database. */
  databaseBytes: bigint;
}

/** Sessions of one role and application in one state. */
export interface SessionGroup {
  /** Null where the server does not tell it to us, as the next ones. */
  role: string | null;
  /** The name that the program gave itself. */
  application: string | null;
  /** As pg_stat_activity has it. */
  state: string | null;
  /** How many. */
  sessions: bigint;
}

/** A transaction that has been open for a while. */
export interface OpenTransaction {
  /** The server's process. */
  pid: number;
  /** Null where the server does not tell it to us, as the next ones. */
  role: string | null;
  /** The name that the program gave itself. */
  application: string | null;
  /** As pg_stat_activity has it. */
  state: string | null;
  /** For how long. */
  seconds: number;
}

/** Streams of one type that are stored in the same way. */
export interface StreamKind {
  /** By the first byte of their ids. */
  type: StreamType;
  /** Whether they are being uploaded. */
  isEphemeral: boolean;
  /** Where their blocks are. */
  location: StreamLocation;
  /** How many. */
  streams: bigint;
}

/** Where a stream's blocks are. */
export type StreamLocation = "database" | "s3" | "gcs";

/** Tables of one name, of all partitions. */
export interface TableFamily {
  /** Without the partition. */
  name: string;
  /** How many tables. */
  tables: bigint;
  /** Of the tables with their TOAST. */
  tableBytes: bigint;
  /** Of the indexes on them. */
  indexBytes: bigint;
  /** By the server's statistics. */
  rows: bigint;
  /** Old versions of rows that no vacuum has removed yet. */
  deadRows: bigint;
  /** The last vacuum of any of them; null: none was vacuumed. */
  lastVacuum: string | null;
  /** How many of them were vacuumed. */
  vacuumed: bigint;
}

/** What `storeStatus` returns. */
export interface StoreStatus {
  /** Where it is. */
  server: ServerStatus;
  /** Its schema. */
  schema: string;
  /** Of both tracks of migrations. */
  versions: TrackVersions;
  /** Those that this release works on. */
  currentVersions: TrackVersions;
  /** A migration of another program failed half-way. */
  isDirty: boolean;
  /** Undefined if the number is not stored. */
  partitions: number | undefined;
  /** Where it lives in a Citus cluster; null: on the server that was asked. */
  placement: StorePlacement | null;
  /** Who has the schema; null: nobody. Undefined: this role may not read it. */
  owner: OwnerFacts | null | undefined;
  /**
   * Who holds the owner's lock. Undefined: nobody sees it on a standby, or but on
   * the worker that has the store.
   */
  lockHolders: LockHolder[] | undefined;
  /** Other sessions in this database. */
  sessions: SessionGroup[];
  /** The one that has been open longest. */
  longestTransaction: OpenTransaction | undefined;
  /** Undefined: this role may not read them, or they are locked. */
  streams: StreamKind[] | undefined;
  /** The largest first. */
  tables: TableFamily[];
  /** Whether a lock kept the sizes from being measured. */
  areSizesEstimated: boolean;
}

/** What `storeStatus` needs to know. */
export interface StoreStatusOptions extends ServerOptions {
  /** The store's schema. */
  schema: string;
}
