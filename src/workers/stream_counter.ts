import { countAll } from "../postgres/operations/count_all.ts";
import type { Store } from "../postgres/store.ts";
import type { StreamCounts } from "../telemetry/stream_counts.ts";
import type { Clock } from "./clock.ts";
import type { Worker, WorkerReport } from "./worker.ts";

/**
 * Counting takes at most this share of the time: the larger a store, the less
 * often it is counted.
 */
const share = 1 / 100;

/** Counts the streams while metrics are collected; otherwise does nothing. */
export class StreamCounter implements Worker<WorkerReport> {
  readonly name = "stream_counter";
  readonly #store: Store;
  readonly #counts: StreamCounts;
  readonly #clock: Clock;
  #notBefore = 0;

  constructor(store: Store, counts: StreamCounts, clock: Clock) {
    this.#store = store;
    this.#counts = counts;
    this.#clock = clock;
  }

  /** Counts once, if metrics are collected and the time has come. */
  async runOnce(signal: AbortSignal): Promise<WorkerReport> {
    const since = this.#clock.now();
    if (this.#counts.isAsked && since >= this.#notBefore) {
      try {
        this.#counts.record(await countAll(this.#store, signal));
      } finally {
        const now = this.#clock.now();
        this.#notBefore = now + (now - since) / share;
      }
    }
    return { done: 0, failed: 0, more: false };
  }
}
