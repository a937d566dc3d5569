/** What is seen of a store that is watched. */

import type { OwnerFacts } from "../../database/ownership/rows.ts";
import type { ServerOptions } from "../session.ts";

/** What `watchStore` needs to know. */
export interface WatchOptions extends ServerOptions {
  /** The store's schema. */
  schema: string;
  /** Milliseconds between two looks, 100 or more. Default 2000. */
  intervalMs?: number;
  /**
   * The address of a store's metrics, http or https, as `prometheusHandler`
   * serves them; they tell of the queue and of each call.
   */
  metrics?: string;
}

/** What happens a second. Of the whole database, as the server counts it. */
export interface WatchRates {
  /** Transactions that were committed. */
  commits: number;
  /** Transactions that were not. */
  rollbacks: number;
  /** Rows of this schema that were inserted, updated or deleted. */
  rowsWritten: number;
  /** Rows of this schema that were read. */
  rowsRead: number;
  /** The part of blocks that were in the server's memory; null: none was read. */
  cacheHits: number | null;
}

/** A partition's rows a second. */
export interface HotPartition {
  /** Its suffix: `r00`, `m3f`. */
  partition: string;
  /** Inserted, updated or deleted. */
  rowsWritten: number;
  /** Read by index or by scan. */
  rowsRead: number;
}

/** A stream of the hottest partition. */
export interface HotStream {
  /** Its id. */
  streamId: string;
  /** Events a second, as far as they are still in the minipool. */
  events: number;
  /** Blocks a second. */
  blocks: number;
}

/** How many sessions there are of a kind. */
export interface SessionCount {
  /** A state, or what is waited for: `Lock:tuple`. */
  name: string;
  /** How many. */
  sessions: number;
}

/** What a store itself says. */
export interface StoreMetrics {
  /** Whether it owns its schema: `owner`, `standby`…; null: it does not tell. */
  ownership: string | null;
  /** Writes that wait. */
  queuedWrites: number;
  /** Their bytes. */
  queuedBytes: number;
  /** Write transactions in flight. */
  busySlots: number;
  /** Connections in use. */
  usedConnections: number;
  /** Connections that are open or could be. */
  maxConnections: number;
  /** Transactions that wait for a connection. */
  waiting: number;
  /** Calls a second since the last look, the most frequent first. */
  calls: { operation: string; perSecond: number }[];
}

/** One look. */
export interface WatchSample {
  /** When, by this machine's clock. */
  at: string;
  /** Seconds since the last look; null at the first one, which has no rates. */
  seconds: number | null;
  /** Of PostgreSQL. */
  serverVersion: string;
  /** Whether it is a hot standby. */
  isStandby: boolean;
  /** Connections of clients, and how many it allows. */
  connections: number;
  /** See `connections`. */
  maxConnections: number;
  /** Who has the schema; null: nobody. Undefined: this role may not read it. */
  owner: OwnerFacts | null | undefined;
  /** Whether somebody holds the owner's lock; undefined: it can't be seen. */
  isLocked: boolean | undefined;
  /** Null at the first look. */
  rates: WatchRates | null;
  /** Sessions of the database by state, the most first. */
  states: SessionCount[];
  /** What busy sessions wait for, the most first. */
  waits: SessionCount[];
  /** Seconds for which the oldest transaction has been open. */
  longestTransaction: number | null;
  /** Those in which most happens. */
  partitions: HotPartition[];
  /** Of the hottest partition, where its minipools are few enough to look. */
  streams: HotStream[];
  /** With `metrics`: what the store says, or why it could not be heard. */
  store?: StoreMetrics | { unreachable: string };
}

/** The server did not answer this time. */
export interface WatchGap {
  /** When, by this machine's clock. */
  at: string;
  /** Why, in words. */
  lost: string;
}
