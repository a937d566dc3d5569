import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { ResolvedOptions } from "./resolved_options.ts";
import type { Store } from "./store.ts";

/** What the background work needs. */
export interface Background {
  /** The store on the background's connections; it notifies the workers. */
  store: Store;
  /** The same store on its callers' connections, for tools. */
  callers: Store;
  /** Aborts when the schema is lost. */
  signal: AbortSignal;
  options: ResolvedOptions;
  telemetry: StoreTelemetry;
}

/** The background work, done by src/workers. */
export interface Workers {
  readonly maintenance: StreamMaintenance;
  start(): void;
  /** Aborts running work and waits for its end. */
  stop(): Promise<void>;
}

/** Makes the workers of a store, without starting them. */
export type CreateWorkers = (background: Background) => Workers;
