/** Options and samples of watching a store. */

import type { OwnerFacts } from "../../database/ownership/rows.ts";
import type { ServerOptions } from "../session.ts";

/** The options of `watchStore`. */
export interface WatchOptions extends ServerOptions {
  /** The store's schema. */
  schema: string;
  /** Milliseconds between two looks, 100 or more. Default 2000. */
  intervalMs?: number;
  /**
   * The http or https address of a store's metrics, as `prometheusHandler`
   * serves them. They add the queue and the calls to each sample.
   */
  metrics?: string;
}

/**
 * Rates a second, from the server's counters. Commits and rollbacks count the
 * whole database.
 */
export interface WatchRates {
  /** Transactions that were committed. */
  commits: number;
  /** Transactions that were rolled back. */
  rollbacks: number;
  /** Rows of this schema that were inserted, updated or deleted. */
  rowsWritten: number;
  /** Rows of this schema that were read. */
  rowsRead: number;
  /**
   * The share of the database's pages that the server read from its memory;
   * null: none was read.
   */
  cacheHits: number | null;
}

/** A partition's rows a second. */
export interface HotPartition {
  /** The partition's suffix: `r00`, `m3f`. */
  partition: string;
  /** Rows inserted, updated or deleted. */
  rowsWritten: number;
  /** Rows read by index or by scan. */
  rowsRead: number;
}

/** A stream of the hottest partition. */
export interface HotStream {
  /** Its id. */
  streamId: string;
  /** Events a second, counting only those still in the minipool. */
  events: number;
  /** Blocks a second. */
  blocks: number;
}

/** The number of sessions of one kind. */
export interface SessionCount {
  /** A state, or what the sessions wait for: `Lock:tuple`. */
  name: string;
  /** How many. */
  sessions: number;
}

/** What a store reports about itself. */
export interface StoreMetrics {
  /**
   * Whether the store owns its schema: `owner`, `standby`…; null: not reported.
   */
  ownership: string | null;
  /** Waiting writes. */
  queuedWrites: number;
  /** Bytes of the waiting writes. */
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

/** One sample. */
export interface WatchSample {
  /** The time of the look, by this machine's clock. */
  at: string;
  /** Seconds since the last look; null at the first one, which has no rates. */
  seconds: number | null;
  /** PostgreSQL's version. */
  serverVersion: string;
  /** Whether the server is a hot standby. */
  isStandby: boolean;
  /** Client connections to the server. */
  connections: number;
  /** The number of connections that the server allows. */
  maxConnections: number;
  /** The schema's owner; null: none. Undefined: this role may not read it. */
  owner: OwnerFacts | null | undefined;
  /** Whether a session holds the owner's lock; undefined: it can't be seen. */
  isLocked: boolean | undefined;
  /** The rates since the last look; null at the first one. */
  rates: WatchRates | null;
  /** Sessions of the database by state, the most frequent first. */
  states: SessionCount[];
  /** Busy sessions by what they wait for, the most frequent first. */
  waits: SessionCount[];
  /** Seconds for which the oldest transaction has been open. */
  longestTransaction: number | null;
  /** The busiest partitions. */
  partitions: HotPartition[];
  /**
   * The busiest streams of the hottest partition, if its minipools are small
   * enough to read.
   */
  streams: HotStream[];
  /** With `metrics`: the store's metrics, or why they could not be read. */
  store?: StoreMetrics | { unreachable: string };
}

/** A look that the server did not answer. */
export interface WatchGap {
  /** The time of the look, by this machine's clock. */
  at: string;
  /** The reason, in words. */
  lost: string;
}
