/** The parts of a store's status. */

import type { LockHolder } from "../../database/lock_holder.ts";
import type { TrackVersions } from "../../database/migrations/mod.ts";
import type { OwnerFacts } from "../../database/ownership/rows.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import type { StorePlacement } from "../cluster/types.ts";
import type { ServerOptions } from "../session.ts";

/** The server of a store. */
export interface ServerStatus {
  /** PostgreSQL's version. */
  version: string;
  /** The database's name. */
  database: string;
  /** Whether it is a hot standby, where the owner's lock can't be seen. */
  isStandby: boolean;
  /** When it was started. */
  startedAt: string;
  /** Client connections to all databases of the server. */
  connections: bigint;
  /** The number of connections that the server allows. */
  maxConnections: bigint;
  /** The size of the whole database. */
  databaseBytes: bigint;
}

/** Sessions of one role and application in one state. */
export interface SessionGroup {
  /** Null, like the next members, if the server hides it from this role. */
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
  /** Null, like the next members, if the server hides it from this role. */
  role: string | null;
  /** The name that the program gave itself. */
  application: string | null;
  /** As pg_stat_activity has it. */
  state: string | null;
  /** How long it has been open. */
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
  /** The name without the partition. */
  name: string;
  /** The number of tables. */
  tables: bigint;
  /** Bytes of the tables with their TOAST. */
  tableBytes: bigint;
  /** Bytes of their indexes. */
  indexBytes: bigint;
  /** Rows, by the server's statistics. */
  rows: bigint;
  /** Old versions of rows that no vacuum has removed yet. */
  deadRows: bigint;
  /** The last vacuum of any of them; null: none was vacuumed. */
  lastVacuum: string | null;
  /** How many of the tables were ever vacuumed. */
  vacuumed: bigint;
}

/** The result of `storeStatus`. */
export interface StoreStatus {
  /** The store's server. */
  server: ServerStatus;
  /** The store's schema. */
  schema: string;
  /** The schema's versions on both tracks of migrations. */
  versions: TrackVersions;
  /** The versions that this release works with. */
  currentVersions: TrackVersions;
  /** Whether a migration of another program has failed half-way. */
  isDirty: boolean;
  /** Undefined if the number is not stored. */
  partitions: number | undefined;
  /**
   * Where the store lives in a Citus cluster; null: on the connected server.
   */
  placement: StorePlacement | null;
  /** The schema's owner; null: none. Undefined: this role may not read it. */
  owner: OwnerFacts | null | undefined;
  /**
   * The holders of the owner's lock. Undefined if it can't be seen: on a
   * standby, and in a cluster from any server except the worker node that has
   * the store.
   */
  lockHolders: LockHolder[] | undefined;
  /** Other sessions in this database. */
  sessions: SessionGroup[];
  /** The transaction that has been open longest. */
  longestTransaction: OpenTransaction | undefined;
  /** Undefined if this role may not read the streams, or they are locked. */
  streams: StreamKind[] | undefined;
  /** The families of tables, the largest first. */
  tables: TableFamily[];
  /** Whether a lock kept the sizes from being measured. */
  areSizesEstimated: boolean;
}

/** The options of `storeStatus`. */
export interface StoreStatusOptions extends ServerOptions {
  /** The store's schema. */
  schema: string;
}
