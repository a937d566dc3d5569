/** What a quick benchmark is told, and tells. */

import type { StreamStorageOptions } from "../../postgres/options.ts";
import type { BenchLine } from "./latencies.ts";

/** What `quickBench` needs to know: a server, where the role may make a schema. */
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
  /** Seconds that are measured, 1 or more. Default 20. */
  seconds?: number;
  /** Called before each measurement with what it is, and how far all are. */
  onProgress?: (operation: string, done: number, all: number) => void;
}

/** What takes most of the time of a write that is alone. */
export type BenchLimit = "commit" | "network" | "processor";

/** What `quickBench` has measured. */
export interface QuickBenchReport {
  /** Of PostgreSQL. */
  serverVersion: string;
  /** In the order in which they were measured. */
  lines: BenchLine[];
  /** Milliseconds of a round trip that does nothing, as half of them took. */
  roundTripMs: number;
  /** Milliseconds that a commit takes beside its round trip. */
  commitMs: number;
  /** What a write that is alone waits for most. */
  limit: BenchLimit;
}
