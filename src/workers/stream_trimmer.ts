/**
 * The worker that trims streams. The file has more than 400 lines, because all
 * ways to find a stream share one memory of what is due.
 */

import { isDeepStrictEqual } from "node:util";
import type {
  TrimReport,
  TrimStreamsOptions,
} from "../postgres/maintenance.ts";
import {
  trimByRules,
  type Trimmed,
} from "../postgres/operations/trim_by_rules.ts";
import {
  markTrimmed,
  readTrimmingPage,
  snapshotsSinceTrimmed,
} from "../postgres/operations/trimming_state.ts";
import { BoundedMap } from "../postgres/bounded_map.ts";
import type { Store } from "../postgres/store.ts";
import {
  type ResolvedTrimming,
  type TrimmingRules,
  trimmingRules,
} from "../postgres/trimming_options.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { Ruling } from "./ruling.ts";
import { StreamFailures } from "./stream_failures.ts";
import { DueStreams } from "./due_streams.ts";
import {
  isFault,
  newTrimReport,
  noteRefused,
  noteTrimmed,
} from "./trim_report.ts";
import { TrimmingScan } from "./trimming_scan.ts";
import { TrimmingTargets } from "./trimming_targets.ts";
import type { Worker, WorkerReport } from "./worker.ts";
import type { WorkerEvent } from "./worker_loop.ts";

const name = "trimStreams";
const maxRemembered = 100_000;
/** Streams of each kind that one run looks at. */
const maxLooks = 100;
const pageSize = 1000;

/** What a {@linkcode StreamTrimmer} is made of. */
export interface StreamTrimmerOptions {
  store: Store;
  trimming: ResolvedTrimming;
  /** Returns the options for the next run. Default: those given last. */
  present?(signal: AbortSignal): Promise<ResolvedTrimming>;
  /** Requests a run. */
  wake(): void;
  onEvent(event: WorkerEvent): void;
}

/**
 * Cuts old blocks and clears old snapshots, by the option `trimming`.
 *
 * A stream is *due* when `activationFactor` snapshots were written since it was
 * last trimmed. The tables show that: the blocks, and a mark that is set after
 * each trimming. Streams that are due are found in two ways: the store reports
 * each snapshot after its commit; and after an unclean shutdown, or when too
 * many were reported, all streams are scanned. Targets are cut as soon as
 * possible: at the start, when they are set, and at each snapshot until one
 * reaches them.
 */
export class StreamTrimmer implements Worker<WorkerReport> {
  readonly name = "stream_trimmer";
  readonly #options: StreamTrimmerOptions;
  #ruling: Ruling;
  readonly #due = new DueStreams();
  readonly #scan: TrimmingScan;
  readonly #targets = new TrimmingTargets();
  /** How far snapshots were cleared, and with which interval. */
  #cleared = newCleared();
  /** Settles when all steps by replaced rules have ended. */
  #ending: Promise<unknown> = Promise.resolve();
  /** The stream that a run looks at, unless it was forgotten meanwhile. */
  #looked: StreamId | undefined;

  constructor(options: StreamTrimmerOptions) {
    this.#options = options;
    this.#ruling = new Ruling(options.trimming);
    this.#scan = new TrimmingScan(options.store, this.name);
    this.#targets.replace(options.trimming.targets);
  }

  /** Whether the options give the trimmer work of its own. */
  get isNeeded(): boolean {
    return this.#targets.size > 0 || this.#trimming.activationFactor > 0;
  }

  /**
   * Continues with these options. When it resolves, withdrawn options cut
   * nothing any more: a running look ends with its present step.
   */
  async replace(trimming: ResolvedTrimming): Promise<void> {
    const before = this.#ruling.end();
    this.#ending = Promise.all([this.#ending, before]);
    this.#ruling = new Ruling(trimming);
    this.#lookAtAll();
    await this.#ending;
  }

  /** Applies option changes since the last run. */
  async #refresh(signal: AbortSignal): Promise<void> {
    const present = await this.#options.present?.(signal);
    if (present === undefined) return;
    if (!isDeepStrictEqual(present, this.#trimming)) {
      await this.replace(present);
    }
  }

  /** Searches again for everything that the rules make due. */
  #lookAtAll(): void {
    this.#targets.replace(this.#trimming.targets);
    if (this.#trimming.activationFactor > 0) this.#scan.want();
    this.#options.wake();
  }

  get #trimming(): ResolvedTrimming {
    return this.#ruling.trimming;
  }

  /** Called after the commit of a snapshot of an existing stream. */
  snapshotWritten(streamId: StreamId): void {
    const { activationFactor } = this.#trimming;
    let isDue = this.#targets.snapshotWritten(streamId);
    if (activationFactor > 0 && trimmingRules(this.#trimming, streamId)) {
      isDue = this.#due.snapshotWritten(streamId, activationFactor) || isDue;
    }
    if (isDue) this.#options.wake();
  }

  /**
   * Called when the stream may be another one: deleted, created anew, rebuilt,
   * moved, or extended downwards. There may be blocks below its target again.
   */
  forget(streamId: StreamId): void {
    this.#cleared.delete(streamId);
    this.#due.forget(streamId);
    if (this.#looked === streamId) this.#looked = undefined;
    if (this.#targets.forget(streamId)) this.#options.wake();
  }

  /**
   * Called when the tables may have lost commits, including trimmings. Due
   * streams are then searched for as after an unclean shutdown.
   */
  forgetAll(): void {
    this.#cleared = newCleared();
    this.#due.forgetAll();
    this.#looked = undefined;
    const { targets, activationFactor } = this.#trimming;
    if (targets.length + activationFactor > 0) this.#lookAtAll();
  }

  /** Does some due work: targets, reported streams, then a page of all. */
  async runOnce(signal: AbortSignal): Promise<WorkerReport> {
    await this.#refresh(signal);
    const failures = new StreamFailures();
    let done = 0;
    for (const streamId of [...this.#targets.due].slice(0, maxLooks)) {
      if (await this.#cutTarget(streamId, failures, signal)) done++;
    }
    done += await this.#trimDue(failures, signal);
    done += await this.#trimPage(failures, signal);
    const left = this.#targets.due.size + this.#due.size;
    const isScanning = this.#trimming.activationFactor > 0 &&
      this.#scan.isRunning;
    return {
      done,
      ...failures.reported,
      more: isScanning || left > failures.count,
    };
  }

  /** Trims everything that the options allow, of all streams or of one. */
  async trim(
    { streamId, dryRun = false }: TrimStreamsOptions,
    signal: AbortSignal,
  ): Promise<TrimReport> {
    await this.#refresh(signal);
    const failures = new StreamFailures();
    const report = newTrimReport(dryRun, failures.list);
    if (streamId !== undefined) {
      await this.#trimNow(streamId, report, { signal, isAsked: true });
      return report;
    }
    const { store } = this.#options;
    for (let after: string | undefined = ""; after !== undefined;) {
      const { streams, next } = await readTrimmingPage(
        store,
        { name, after, signal },
        pageSize,
      );
      for (const { streamId, latest } of streams) {
        if (latest === 0n) continue;
        await failures.guard(
          streamId,
          signal,
          () => this.#trimNow(streamId, report, { signal, isAsked: false }),
        );
      }
      after = next;
    }
    return report;
  }

  /** Called when the store is closed and no run is in progress. */
  async end(): Promise<void> {
    const { activationFactor } = this.#trimming;
    if (activationFactor === 0 || this.#due.size > 0) return;
    await this.#scan.end();
  }

  async #cutTarget(
    streamId: StreamId,
    failures: StreamFailures,
    signal: AbortSignal,
  ): Promise<boolean> {
    const target = this.#targets.get(streamId);
    if (target === undefined) return false;
    const ruling = this.#ruling;
    const { batchSize } = ruling.trimming;
    const rules = { history: 0n, retention: 0n, target, batchSize };
    this.#targets.take(streamId);
    this.#looked = streamId;
    let isDone = false;
    try {
      await failures.guard(streamId, signal, async () => {
        const trimmed = await this.#look(streamId, rules, ruling, signal);
        isDone = true;
        const isSame = this.#looked === streamId &&
          this.#targets.get(streamId) === target;
        if (trimmed?.isWhole && trimmed.latest >= target && isSame) {
          this.#targets.reached(streamId);
        }
      });
      return isDone;
    } finally {
      if (!isDone) this.#targets.putBack(streamId);
    }
  }

  async #trimDue(
    failures: StreamFailures,
    signal: AbortSignal,
  ): Promise<number> {
    let done = 0;
    const taken = this.#due.take(maxLooks);
    for (const [i, due] of taken.entries()) {
      try {
        const isDone = await failures.guard(
          due.streamId,
          signal,
          () => this.#trimIfDue(due.streamId, due.isCertain, signal),
        );
        if (isDone) done++;
        if (isDone === undefined) this.#due.add(due);
      } catch (error) {
        for (const left of taken.slice(i)) this.#due.add(left);
        throw error;
      }
    }
    return done;
  }

  async #trimPage(
    failures: StreamFailures,
    signal: AbortSignal,
  ): Promise<number> {
    const { activationFactor } = this.#trimming;
    if (activationFactor === 0) return 0;
    if (this.#due.takeOverflow()) this.#scan.want();
    const page = await this.#scan.next(signal);
    if (page === undefined) return 0;
    let done = 0;
    for (const { streamId, snapshots } of page) {
      if (snapshots < BigInt(activationFactor)) continue;
      const isDone = await failures.guard(
        streamId,
        signal,
        () => this.#trimIfDue(streamId, false, signal),
      );
      if (isDone) done++;
      // The scan has passed it, so remember the failure until it succeeds.
      if (isDone === undefined) this.#due.add({ streamId, isCertain: false });
    }
    await this.#scan.pass();
    return done;
  }

  /** Returns whether the stream was due. */
  async #trimIfDue(
    streamId: StreamId,
    isCertain: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const ruling = this.#ruling;
    const { activationFactor } = ruling.trimming;
    const rules = trimmingRules(ruling.trimming, streamId);
    if (rules === undefined || activationFactor === 0) return false;
    this.#looked = streamId;
    if (!isCertain) {
      const { store } = this.#options;
      const call = { name, streamId, signal };
      const count = await snapshotsSinceTrimmed(store, call, activationFactor);
      if (count === undefined) return false;
      if (count < activationFactor) {
        if (this.#looked === streamId) this.#due.count(streamId, count);
        return false;
      }
    }
    const { retention } = rules;
    const cleared = this.#cleared.get(streamId);
    const clearedTo = cleared?.retention === retention ? cleared.to : undefined;
    this.#cleared.delete(streamId);
    const trimmed = await this.#look(
      streamId,
      { ...rules, clearedTo },
      ruling,
      signal,
    );
    // If other rules are in force, due streams are searched for again.
    if (this.#looked !== streamId || ruling !== this.#ruling) return true;
    this.#due.count(streamId, 0);
    if (trimmed !== undefined) {
      // Checks again the snapshots that were the latest or among the newest.
      this.#cleared.set(streamId, { retention, to: trimmed.latest - 100n });
    }
    return true;
  }

  /** Trims in the background; returns undefined if nothing can be trimmed. */
  async #look(
    streamId: StreamId,
    rules: TrimmingRules,
    { step }: Ruling,
    signal: AbortSignal,
  ): Promise<Trimmed | undefined> {
    const { store, onEvent } = this.#options;
    const call = { name, streamId, signal };
    try {
      const run = { dryRun: false, step };
      const trimmed = await trimByRules(store, call, rules, run);
      if (typeof trimmed !== "string") {
        await this.#mark(streamId, rules, trimmed);
        return trimmed;
      }
      if (isFault(trimmed)) {
        onEvent({
          code: "trimming_refused",
          message: `Stream ${streamId} is damaged and is not trimmed`,
          details: { worker: this.name, streamId, reason: trimmed },
        });
      }
    } catch (error) {
      // Deleted meanwhile, or a target for a stream that never existed.
      if (!isStreamStorageError(error, "NOT_FOUND")) throw error;
    }
    return undefined;
  }

  async #trimNow(
    streamId: StreamId,
    report: TrimReport,
    { signal, isAsked }: { signal: AbortSignal; isAsked: boolean },
  ): Promise<true> {
    const { store } = this.#options;
    const { dryRun } = report;
    const { step } = this.#ruling;
    const rules = this.#allRules(streamId);
    if (rules === undefined && !isAsked) return true;
    const call = { name, streamId, signal };
    report.streams++;
    const trimmed = await trimByRules(
      store,
      call,
      rules ?? { history: 0n, retention: 0n, target: undefined, batchSize: 1 },
      { dryRun, step },
    );
    if (typeof trimmed === "string") {
      if (isAsked || isFault(trimmed)) noteRefused(report, streamId, trimmed);
      return true;
    }
    noteTrimmed(report, streamId, trimmed);
    if (rules !== undefined && !dryRun) {
      await this.#mark(streamId, rules, trimmed);
    }
    return true;
  }

  /** The stream's rules, with its target. */
  #allRules(streamId: StreamId): TrimmingRules | undefined {
    const { batchSize } = this.#trimming;
    const rules = trimmingRules(this.#trimming, streamId);
    const target = this.#targets.get(streamId);
    if (target === undefined) return rules;
    return { history: 0n, retention: 0n, batchSize, ...rules, target };
  }

  /** Restarts the count; cutting only to a target is no trimming. */
  async #mark(
    streamId: StreamId,
    { history, retention }: TrimmingRules,
    { latest, isWhole }: Trimmed,
  ): Promise<void> {
    if (!isWhole) return;
    if (this.#trimming.activationFactor === 0) return;
    if (history === 0n && retention === 0n) return;
    await markTrimmed(this.#options.store, { name, streamId }, latest);
  }
}

const newCleared = () =>
  new BoundedMap<StreamId, { retention: bigint; to: bigint }>(maxRemembered);
