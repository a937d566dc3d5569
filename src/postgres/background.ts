import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { StreamMaintenance } from "./maintenance.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Store } from "./store.ts";

/** What the work in the background is made from. */
export interface Background {
  /** The store by its own share of the connections. */
  store: Store;
  options: ResolvedOptions;
  telemetry: StoreTelemetry;
}

/** The work in the background; src/workers does it. */
export interface Workers {
  readonly maintenance: StreamMaintenance;
  /** After commit: a stream that was there has a new snapshot. */
  snapshotWritten(streamId: StreamId): void;
  /** After commit: a deleted stream's rows have not all gone; see `Store`. */
  restToRemove(): boolean;
  start(): void;
  /** Aborts what is under way and waits for its end. */
  stop(): Promise<void>;
}

/** Makes the workers of a store, without starting them. */
export type CreateWorkers = (background: Background) => Workers;
