import type { SweepOptions, SweepReport } from "../postgres/maintenance.ts";
import {
  alignEphemeralAges,
  listExpired,
  removeExpired,
} from "../postgres/operations/sweep_ephemeral.ts";
import type { LiveSetting } from "../postgres/setting.ts";
import type { Store } from "../postgres/store.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { StreamFailures } from "./stream_failures.ts";
import type { Worker, WorkerReport } from "./worker.ts";

const pageSize = 100;
const maxListed = 1000;

/**
 * Removes uploads that were not completed in time. A table holds their ages, by
 * the server's clock, so a restart does not change them.
 */
export class EphemeralSweeper implements Worker<WorkerReport> {
  readonly name = "ephemeral_sweeper";
  readonly #store: Store;
  readonly #ttl: LiveSetting<number>;

  constructor(store: Store, ttl: LiveSetting<number>) {
    this.#store = store;
    this.#ttl = ttl;
  }

  /** Removes all that are due, each in a transaction of its own. */
  async runOnce(signal: AbortSignal): Promise<WorkerReport> {
    const failures = new StreamFailures();
    const { removed } = await this.#sweep({}, failures, signal);
    return { done: removed, ...failures.reported, more: false };
  }

  /** Does the same, and returns the full report. */
  sweep(options: SweepOptions, signal: AbortSignal): Promise<SweepReport> {
    return this.#sweep(options, new StreamFailures(), signal);
  }

  async #sweep(
    { ttlMs: given, dryRun = false }: SweepOptions,
    failures: StreamFailures,
    signal: AbortSignal,
  ): Promise<SweepReport> {
    const ttlMs = given ?? await this.#ttl.ask(signal);
    const report: SweepReport = {
      dryRun,
      removed: 0,
      streamIds: [],
      firstSeen: dryRun ? 0 : await alignEphemeralAges(this.#store, signal),
      failures: failures.list,
    };
    for (let after: StreamId | "" = "";;) {
      const page = await listExpired(this.#store, {
        ttlMs,
        after,
        limit: pageSize,
        signal,
      });
      for (const streamId of page) {
        const isRemoved = dryRun || await failures.guard(
          streamId,
          signal,
          () => this.#remove(streamId, ttlMs),
        );
        if (!isRemoved) continue;
        report.removed++;
        if (report.streamIds.length < maxListed) {
          report.streamIds.push(streamId);
        }
      }
      if (page.length < pageSize) return report;
      after = page.at(-1)!;
    }
  }

  /** Takes no signal: a write that is in flight is never given up. */
  #remove(streamId: StreamId, ttlMs: number): Promise<boolean> {
    const call = { name: "sweepEphemeralStreams", streamId };
    return removeExpired(this.#store, call, ttlMs);
  }
}
