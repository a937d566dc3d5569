/** Options and report of a quick benchmark. */

import type { StreamStorageOptions } from "../../postgres/options.ts";
import type { BenchLine } from "./latencies.ts";

/**
 * The options of `quickBench`: a server on which the role may make a schema.
 */
export interface QuickBenchOptions extends
  Pick<
    StreamStorageOptions,
    | "url"
    | "host"
    | "port"
    | "user"
    | "password"
    | "database"
    | "ssl"
    | "ownershipUrl"
    | "channelBinding"
    | "requireAuth"
    | "maxConnections"
    | "signal"
  > {
  /** How many seconds to measure, 1 or more. Default 20. */
  seconds?: number;
  /** Called before each measurement, with its name and how many are done. */
  onProgress?: (operation: string, done: number, all: number) => void;
}

/** The part that takes most of the time of a single write. */
export type BenchLimit = "commit" | "network" | "processor";

/** The result of `quickBench`. */
export interface QuickBenchReport {
  /** PostgreSQL's version. */
  serverVersion: string;
  /** The measurements, in the order in which they were made. */
  lines: BenchLine[];
  /** The median of an empty round trip, in milliseconds. */
  roundTripMs: number;
  /** Milliseconds that a commit takes in addition to its round trip. */
  commitMs: number;
  /** What a single write waits for most. */
  limit: BenchLimit;
}
