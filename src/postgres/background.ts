import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { ResolvedOptions } from "./resolved_options.ts";
import type { Store } from "./store.ts";

/** What the work in the background is made from. */
export interface Background {
  /** The store by its own share of the connections; its notices are listened to. */
  store: Store;
  /** The same store by its callers' share, for tools that have no other callers. */
  callers: Store;
  options: ResolvedOptions;
  telemetry: StoreTelemetry;
}

/** The work in the background; src/workers does it. */
export interface Workers {
  readonly maintenance: StreamMaintenance;
  start(): void;
  /** Aborts what is under way and waits for its end. */
  stop(): Promise<void>;
}

/** Makes the workers of a store, without starting them. */
export type CreateWorkers = (background: Background) => Workers;
