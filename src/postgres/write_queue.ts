/**
 * The order of writes, and group commit.
 *
 * Every write of this process goes through here. Writes of one stream run one
 * after another, in the order in which they were made. Small writes of many
 * streams share a transaction: one round trip and one fsync for all of them.
 *
 *     caller → line of its stream → [ready lines] → lane → one transaction
 *
 * A *line* holds the waiting writes of one stream, and is at most once under
 * way. A *lane* is one transaction under way; there are few of them. When a
 * lane is free it takes at once what is ready: alone in an idle store, so that
 * nothing waits for company; together with everything that gathered while all
 * lanes were busy, up to the limits, in a loaded one.
 *
 *     waiting → under way → settled
 *       │ aborted, too old: refused, nothing was written
 *
 * Failures. A shared transaction that fails does so for reasons of one write
 * or of none (a lock that somebody else holds, a broken connection), so each
 * of its writes is run again by itself, with retries, and gets its own
 * verdict; none fails because of a neighbour. If the answer was lost, each is
 * told that it may have been committed. A line stays under way until its own
 * writes are settled, so order holds, and no longer. A promise settles only
 * after its transaction's end is known.
 *
 * Locks. No transaction waits for the lock of a stream that a stranger holds,
 * such as a session whose client is gone: it would keep a lane and a connection
 * from all others, and some such streams would stop the store. It fails at
 * once, and the write is tried again a little later, with no lane meanwhile.
 *
 * Writes of the background have lanes of their own: however long they take,
 * those of callers only wait for the ones of the same stream.
 *
 * Bounds: waiting writes and their bytes; writes and bytes of a transaction;
 * the time a write waits.
 */

import { setImmediate } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import type { Result } from "../database/statement.ts";
import { closed } from "../storage/contract_errors.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { LoadedWrite, Write } from "./queued_write.ts";
import { type Task, WriteLines } from "./write_lines.ts";
import { queueFull, queueTimeout } from "./write_queue_errors.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/** Longer than a commit takes; what lasts longer waits for something else. */
const patienceMs = 10;

/** Busy while anybody uses it. */
interface Lane {
  users: number;
  background: boolean;
}

/** Orders and groups writes; see the file's head. */
export class WriteQueue {
  readonly #options: WriteQueueOptions;
  readonly #lines = new WriteLines();
  #busyLanes = 0;
  #busyBackgroundLanes = 0;
  #busySharedLanes = 0;
  #oldTimer: ReturnType<typeof setTimeout> | undefined;
  #pumping = false;
  #pumpingLater = false;
  /** When the latest shared transaction began. */
  #sharedSince = 0;
  #patience: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #drained: (() => void) | undefined;

  constructor(options: WriteQueueOptions) {
    this.#options = options;
  }

  /** Waiting writes and busy lanes, for metrics. */
  get state(): { waiting: number; waitingBytes: number; busyLanes: number } {
    const { waiting, waitingBytes } = this.#lines;
    return { waiting, waitingBytes, busyLanes: this.#busyLanes };
  }

  /**
   * Queues a write; the promise settles once its end is known.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`write_queue_full`),
   *   FAILED_PRECONDITION (`closed`), DEADLINE_EXCEEDED (`queue_timeout`), the
   *   signal's reason, or what the write itself throws.
   */
  submit<T>(write: Write<T>): Promise<T> {
    const refusal = this.#refusal(write);
    if (refusal !== undefined) return Promise.reject(refusal);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const task: Task = {
      write,
      since: write.since ?? performance.now(),
      resolve,
      reject,
      onAbort: undefined,
    };
    this.#enqueue(task);
    return promise as Promise<T>;
  }

  /** Takes no more writes and waits until all are settled, at most so long. */
  async close(budgetMs: number): Promise<void> {
    this.#closed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, budgetMs);
    this.#drained = resolve;
    this.#checkDrained();
    await promise;
    clearTimeout(timer);
    clearTimeout(this.#oldTimer);
    clearTimeout(this.#patience);
    for (const task of this.#lines.all()) this.#refuse(task, closed());
  }

  #refusal(write: Write): unknown {
    if (this.#closed) return closed();
    if (write.signal?.aborted) return write.signal.reason;
    const { maxWaiting, maxWaitingBytes } = this.#options;
    const { waiting, waitingBytes } = this.#lines;
    // One write is always taken, however large, or it could never be.
    if (
      waiting >= maxWaiting ||
      (waiting > 0 && waitingBytes + write.bytes > maxWaitingBytes)
    ) return queueFull(this.#options, { waiting, waitingBytes });
    return undefined;
  }

  #enqueue(task: Task): void {
    const { signal } = task.write;
    const isReady = this.#lines.add(task);
    this.#refuseOldLater(task.since);
    if (isReady) this.#pumpSoon();
    if (signal !== undefined) {
      task.onAbort = () => this.#refuse(task, signal.reason);
      signal.addEventListener("abort", task.onAbort, { once: true });
    }
  }

  /** Takes a waiting task out; it was never sent. */
  #refuse(task: Task, error: unknown): void {
    this.#lines.remove(task);
    ignoreAbort(task);
    task.reject(error);
    this.#checkDrained();
  }

  /** Calls made in one turn of the event loop are seen together. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  /**
   * A lane is free, or a line. Whoever was just answered is given the time to
   * ask for more: else those who waited would go without them, and they
   * without those the next time, in two small loads instead of one.
   */
  #pumpLater(): void {
    if (this.#pumpingLater) return;
    this.#pumpingLater = true;
    setImmediate(() => {
      this.#pumpingLater = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#busyLanes < this.#options.lanes) {
      const taken = this.#take();
      if (taken.length === 0) break;
      this.#start(taken);
    }
    this.#pumpBackground();
    this.#checkDrained();
  }

  #start(taken: readonly Task[], background = false): void {
    const lane = { users: 0, background };
    if (taken[0]!.write.shared !== undefined) this.#runShared(taken, lane);
    else this.#occupy(lane, taken, () => this.#runEach(taken, false, lane));
  }

  #enter(lane: Lane): void {
    if (lane.users++ === 0) this.#countLane(lane, 1);
  }

  #leave(lane: Lane): void {
    if (--lane.users > 0) return;
    this.#countLane(lane, -1);
    this.#pumpLater();
  }

  #countLane({ background }: Lane, step: 1 | -1): void {
    if (background) this.#busyBackgroundLanes += step;
    else this.#busyLanes += step;
  }

  #pumpBackground(): void {
    const { backgroundLanes = 0 } = this.#options;
    let free = backgroundLanes - this.#busyBackgroundLanes;
    const taken = this.#lines.take(([first]) => {
      if (free <= 0) return undefined;
      if (!first!.write.background) return 0;
      free--;
      return 1;
    });
    for (const task of taken) {
      ignoreAbort(task);
      this.#start([task], true);
    }
  }

  /**
   * The next load of a lane: one write that runs alone, or as many shareable
   * ones as fit; nothing if all that is ready has to wait for its kind of lane.
   */
  #take(): readonly Task[] {
    const most = this.#mostLines();
    const load = { lines: 0, writes: 0, bytes: 0 };
    let isAlone = false;
    const taken = this.#lines.take((tasks) => {
      if (isAlone) return undefined;
      const { shared, background } = tasks[0]!.write;
      if (background) return 0;
      if (shared === undefined) {
        isAlone = load.lines === 0;
        return isAlone ? 1 : 0;
      }
      // With no lane of its kind it waits, but whoever runs alone may go.
      if (load.lines >= most) return most > 0 ? undefined : 0;
      const count = this.#fitting(tasks, load);
      if (count === 0) return undefined;
      load.lines++;
      return count;
    });
    taken.forEach(ignoreAbort);
    return taken;
  }

  /**
   * How many lines a shared transaction may take now. A few wait for the one
   * that is under way, unless that takes long, which a timer sees to: two
   * commits would wait for the disk one after the other. Many are divided among
   * the free lanes, so that the server works on all of them at once.
   */
  #mostLines(): number {
    const { sharedLanes, minDivided } = this.#options;
    const free = sharedLanes - this.#busySharedLanes;
    const { ready } = this.#lines;
    if (free <= 0 || ready === 0) return 0;
    if (ready < minDivided && free < sharedLanes) {
      const waitMs = this.#sharedSince + patienceMs - performance.now();
      if (waitMs > 0) {
        this.#patience ??= setTimeout(() => {
          this.#patience = undefined;
          this.#pump();
        }, waitMs);
        return 0;
      }
    }
    return Math.max(minDivided, Math.ceil(ready / free));
  }

  /** How many of a line's shareable writes the load has room for. */
  #fitting(
    tasks: readonly Task[],
    load: { writes: number; bytes: number },
  ): number {
    const { maxShared, maxSharedBytes } = this.#options;
    let count = 0;
    for (const { write: { shared, bytes } } of tasks) {
      if (shared === undefined) break;
      const fits = load.writes === 0 ||
        (load.writes < maxShared && load.bytes + bytes <= maxSharedBytes);
      if (!fits || (shared.isSingle && count > 0)) break;
      load.writes++;
      load.bytes += bytes;
      count++;
      if (shared.isSingle) break;
    }
    return count;
  }

  /** Each line goes on when its own writes are settled, not all of them. */
  async #runShared(tasks: readonly Task[], lane: Lane): Promise<void> {
    this.#enter(lane);
    this.#busySharedLanes++;
    this.#sharedSince = performance.now();
    let results: readonly Result[] | undefined;
    let isUnknown = false;
    try {
      results = await this.#options.runShared(
        tasks.map((task) => task.write as LoadedWrite),
        this.#latestOf(tasks),
      );
    } catch (error) {
      isUnknown = this.#options.isUnknown(error);
    }
    for (let from = 0, to; from < tasks.length; from = to) {
      to = endOfLine(tasks, from);
      const line = tasks.slice(from, to);
      if (results !== undefined) {
        this.#settleShared(line, results.slice(from, to), lane);
      } else {
        this.#occupy(lane, line, () => this.#runEach(line, isUnknown, lane));
      }
    }
    this.#busySharedLanes--;
    this.#leave(lane);
    this.#pumpLater();
  }

  /** Settles the writes of one stream that were done, or not, by one transaction. */
  #settleShared(
    line: readonly Task[],
    results: readonly Result[],
    lane: Lane,
  ): void {
    const done = line.map(({ write }, i) => write.shared!.isDone(results[i]!));
    let later = done.filter(Boolean).length;
    const unsettled: Promise<void>[] = [];
    for (const [i, task] of line.entries()) {
      if (done[i]) {
        later--;
        task.resolve(undefined);
      } else unsettled.push(this.#explain(task, later, lane));
    }
    if (unsettled.length === 0) this.#release(line[0]!);
    else void Promise.all(unsettled).then(() => this.#release(line[0]!));
  }

  /** The transaction did nothing of this write: it is settled by itself. */
  async #explain(task: Task, later: number, lane: Lane): Promise<void> {
    const { shared } = task.write;
    this.#enter(lane);
    await this.#whenUnlocked(
      task,
      false,
      lane,
      (unknown) => shared!.explain(later, unknown),
    );
    this.#leave(lane);
  }

  /** The line is under way, and in the lane, until its writes are settled. */
  #occupy(
    lane: Lane,
    line: readonly Task[],
    settle: () => Promise<void>,
  ): void {
    this.#enter(lane);
    void settle().then(() => {
      this.#release(line[0]!);
      this.#leave(lane);
    });
  }

  /** The oldest decides, but must not leave its company without any time. */
  #latestOf(tasks: readonly Task[]): number {
    const { maxWaitMs } = this.#options;
    let oldest = Infinity;
    for (const { since } of tasks) oldest = Math.min(oldest, since);
    return Math.max(oldest + maxWaitMs, performance.now() + maxWaitMs / 4);
  }

  /** Nothing more of the stream is under way. */
  #release({ write: { streamId } }: Task): void {
    this.#lines.release(streamId);
    this.#pumpLater();
  }

  /** One after another; those not started in time are refused. */
  async #runEach(
    tasks: readonly Task[],
    unknown: boolean,
    lane: Lane,
  ): Promise<void> {
    const { maxWaitMs } = this.#options;
    for (const task of tasks) {
      if (performance.now() - task.since > maxWaitMs) {
        task.reject(queueTimeout(maxWaitMs, unknown));
      } else {
        const { write } = task;
        await this.#whenUnlocked(
          task,
          unknown,
          lane,
          (unknown) => write.runAlone(unknown),
        );
      }
    }
  }

  /**
   * Settles a write by running it, again and again while somebody else holds
   * the lock of its stream.
   */
  async #whenUnlocked(
    task: Task,
    unknown: boolean,
    lane: Lane,
    run: (unknown: boolean) => Promise<unknown>,
  ): Promise<void> {
    const { maxWaitMs, maxLockWaitMs, isLocked } = this.#options;
    const latest = Math.min(
      task.since + maxWaitMs,
      performance.now() + maxLockWaitMs,
    );
    for (let nth = 0;; nth++) {
      try {
        return task.resolve(await run(unknown));
      } catch (error) {
        const pause = lockPauseMs(nth);
        if (!isLocked(error) || performance.now() + pause > latest) {
          return task.reject(error);
        }
        unknown ||= isStreamStorageError(error) && error.outcome === "unknown";
        const signal = unknown ? undefined : task.write.signal;
        // Others have the lane meanwhile.
        this.#leave(lane);
        await delay(pause, undefined, { signal }).catch(() => {});
        this.#enter(lane);
        if (signal?.aborted) return task.reject(signal.reason);
      }
    }
  }

  /** One timer for all that wait: the oldest is due first. */
  #refuseOldLater(oldest: number): void {
    const { maxWaitMs } = this.#options;
    this.#oldTimer ??= setTimeout(
      () => this.#refuseOld(),
      Math.max(0, oldest + maxWaitMs - performance.now()),
    );
  }

  /** Whoever waited too long is refused before it is sent. */
  #refuseOld(): void {
    const { maxWaitMs } = this.#options;
    this.#oldTimer = undefined;
    const latest = performance.now() - maxWaitMs;
    let oldest = Infinity;
    for (const task of this.#lines.all()) {
      if (task.since > latest) oldest = Math.min(oldest, task.since);
      else this.#refuse(task, queueTimeout(maxWaitMs));
    }
    if (oldest < Infinity) this.#refuseOldLater(oldest);
  }

  #checkDrained(): void {
    if (this.#lines.isEmpty) this.#drained?.();
  }
}

/** The writes of a stream stand together: where the next stream's begin. */
function endOfLine(tasks: readonly Task[], from: number): number {
  const { streamId } = tasks[from]!.write;
  let to = from + 1;
  while (to < tasks.length && tasks[to]!.write.streamId === streamId) to++;
  return to;
}

/** The task waits no longer: from here on it is done or it fails. */
function ignoreAbort({ write, onAbort }: Task): void {
  if (onAbort !== undefined) {
    write.signal!.removeEventListener("abort", onAbort);
  }
}

/** Jittered: 5 to 10 ms at first, at last 50 to 100. */
function lockPauseMs(nth: number): number {
  return Math.min(100, 10 * 2 ** nth) * (0.5 + Math.random() / 2);
}
