/**
 * Orders writes, and batches them into shared transactions (group commit).
 *
 * Every write of this process passes through this queue. Writes to one stream
 * run one after another, in the order of submission. Small writes to different
 * streams share a transaction, and so one round trip and one fsync.
 *
 *     submit → stream queue → ready → transaction slot → one batch
 *
 * A *stream queue* holds the writes that wait for one stream; at most one
 * transaction at a time serves it. A *transaction slot* is the right to run
 * one transaction; there are few. A *batch* is what a slot runs: one write
 * that needs its own transaction, or as many shareable writes as fit.
 *
 * Batching. A store that is idle sends a write at once. Under load, writes
 * gather while the slots are busy, and the next free slot takes them together.
 * While a shared transaction runs, a second one starts only if many streams
 * are ready or the first has taken long: two commits would queue for one disk.
 *
 *     waiting ──▶ in flight ──▶ settled
 *        └──▶ refused: aborted, past its deadline, or closed; nothing was sent
 *
 * Invariants
 * 1. A stream has writes in at most one batch, and later ones wait until
 *    these have settled. Other streams of the batch do not hold it up.
 * 2. A promise settles only once its transaction has committed, has failed,
 *    or has lost its connection and been looked for.
 * 3. No write fails because of another write in its batch.
 *
 * Failures. When a shared transaction fails, each of its writes is run again
 * in a transaction of its own, with retries, and gets its own result. If the
 * answer was lost, the rerun is told so and looks first whether the write was
 * done (transactions.ts). If the transaction commits but a write's statement
 * changed nothing, that write alone is run again or has its reason looked up.
 *
 * Locks. No transaction waits on the server for a stream lock that an outside
 * session holds, for example one whose client has died. A few such streams
 * would occupy every slot and stop the store. The lock fails at once (NOWAIT);
 * the write tries again after a pause during which it holds no slot.
 *
 * Cancellation. A signal stops a write that is waiting, also between two lock
 * attempts, but never one that is in flight.
 *
 * Background writes have slots of their own, so callers wait for them only on
 * the same stream.
 *
 * Bounds: the number and bytes of waiting writes, the number and bytes of a
 * batch, and the time from submission to the start of the transaction.
 */

import { setImmediate } from "node:timers";
import { setTimeout as delay } from "node:timers/promises";
import type { Result } from "../../database/statement.ts";
import { closed } from "../../storage/contract_errors.ts";
import type { BatchedWrite, Write } from "./queued_write.ts";
import { StreamQueues, type Task } from "./stream_queues.ts";
import { queueFull, queueTimeout } from "./write_queue_errors.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/**
 * Batching delay: the longest time that a small batch waits behind a running
 * one. Longer than a commit takes; what lasts longer waits for something else.
 */
const batchingDelayMs = 10;

/** Busy while a write uses it. */
interface Slot {
  users: number;
  background: boolean;
}

/** Orders and groups writes; see the file's head. */
export class WriteQueue {
  readonly #options: WriteQueueOptions;
  readonly #queues = new StreamQueues();
  #busySlots = 0;
  #busyBackgroundSlots = 0;
  #busySharedSlots = 0;
  #oldTimer: ReturnType<typeof setTimeout> | undefined;
  #dispatching = false;
  #dispatchingLater = false;
  /** When the latest shared transaction began. */
  #sharedAt = 0;
  #delayTimer: ReturnType<typeof setTimeout> | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(options: WriteQueueOptions) {
    this.#options = options;
  }

  /** Waiting writes and busy transaction slots, for metrics. */
  get state(): { waiting: number; waitingBytes: number; busySlots: number } {
    const { waiting, waitingBytes } = this.#queues;
    return { waiting, waitingBytes, busySlots: this.#busySlots };
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
      submittedAt: write.submittedAt ?? performance.now(),
      resolve,
      reject,
      onAbort: undefined,
    };
    this.#enqueue(task);
    return promise as Promise<T>;
  }

  /** Takes no more writes and waits until all are settled, at most so long. */
  close(budgetMs: number): Promise<void> {
    this.#closing ??= this.#close(budgetMs);
    return this.#closing;
  }

  async #close(budgetMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, budgetMs);
    this.#drained = resolve;
    this.#checkDrained();
    await promise;
    clearTimeout(timer);
    clearTimeout(this.#oldTimer);
    clearTimeout(this.#delayTimer);
    for (const task of this.#queues.all()) this.#refuse(task, closed());
  }

  #refusal(write: Write): unknown {
    if (this.#closing !== undefined) return closed();
    if (write.signal?.aborted) return write.signal.reason;
    const { maxWaiting, maxWaitingBytes } = this.#options;
    const { waiting, waitingBytes } = this.#queues;
    // One write is always taken, however large, or it could never be.
    if (
      waiting >= maxWaiting ||
      (waiting > 0 && waitingBytes + write.bytes > maxWaitingBytes)
    ) return queueFull(this.#options, { waiting, waitingBytes });
    return undefined;
  }

  #enqueue(task: Task): void {
    const { signal } = task.write;
    const isReady = this.#queues.add(task);
    this.#refuseOldLater(task.submittedAt);
    if (isReady) this.#dispatchSoon();
    if (signal !== undefined) {
      task.onAbort = () => this.#refuse(task, signal.reason);
      signal.addEventListener("abort", task.onAbort, { once: true });
    }
  }

  /** Takes a waiting task out; it was never sent. */
  #refuse(task: Task, error: unknown): void {
    this.#queues.remove(task);
    ignoreAbort(task);
    task.reject(error);
    this.#checkDrained();
  }

  /** Calls made in one turn of the event loop are seen together. */
  #dispatchSoon(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    queueMicrotask(() => {
      this.#dispatching = false;
      this.#dispatch();
    });
  }

  /**
   * Dispatches one turn later, so that callers whose writes have just settled
   * can submit their next ones. Otherwise callers split into two groups that
   * alternate in smaller batches.
   */
  #dispatchLater(): void {
    if (this.#dispatchingLater) return;
    this.#dispatchingLater = true;
    setImmediate(() => {
      this.#dispatchingLater = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#busySlots < this.#options.slots) {
      const taken = this.#take();
      if (taken.length === 0) break;
      this.#start(taken);
    }
    this.#dispatchBackground();
    this.#checkDrained();
  }

  #start(taken: readonly Task[], background = false): void {
    const slot = { users: 0, background };
    if (taken[0]!.write.shared !== undefined) this.#runBatch(taken, slot);
    else this.#occupy(slot, taken, () => this.#runEach(taken, false, slot));
  }

  #enter(slot: Slot): void {
    if (slot.users++ === 0) this.#countSlot(slot, 1);
  }

  #leave(slot: Slot): void {
    if (--slot.users > 0) return;
    this.#countSlot(slot, -1);
    this.#dispatchLater();
  }

  #countSlot({ background }: Slot, step: 1 | -1): void {
    if (background) this.#busyBackgroundSlots += step;
    else this.#busySlots += step;
  }

  #dispatchBackground(): void {
    const { backgroundSlots = 0 } = this.#options;
    let free = backgroundSlots - this.#busyBackgroundSlots;
    const taken = this.#queues.take(([first]) => {
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
   * The next batch of a slot: one write that runs alone, or as many shareable
   * ones as fit; nothing if all that is ready has to wait for its kind of slot.
   */
  #take(): readonly Task[] {
    const most = this.#mostStreams();
    const batch = { streams: 0, writes: 0, bytes: 0 };
    let isAlone = false;
    const taken = this.#queues.take((tasks) => {
      if (isAlone) return undefined;
      const { shared, background } = tasks[0]!.write;
      if (background) return 0;
      if (shared === undefined) {
        isAlone = batch.streams === 0;
        return isAlone ? 1 : 0;
      }
      // It waits for its kind of slot, but a write that runs alone may go.
      if (batch.streams >= most) return most > 0 ? undefined : 0;
      const count = this.#fitting(tasks, batch);
      if (count === 0) return undefined;
      batch.streams++;
      return count;
    });
    taken.forEach(ignoreAbort);
    return taken;
  }

  /**
   * How many streams a shared transaction may take now. A few wait for the one
   * that is in flight, unless that takes long, which a timer sees to: two
   * commits would wait for the disk one after the other. Many are divided among
   * the free slots, so that the server works on all of them at once.
   */
  #mostStreams(): number {
    const { sharedSlots, minDivided } = this.#options;
    const free = sharedSlots - this.#busySharedSlots;
    const { ready } = this.#queues;
    if (free <= 0 || ready === 0) return 0;
    if (ready < minDivided && free < sharedSlots) {
      const waitMs = this.#sharedAt + batchingDelayMs - performance.now();
      if (waitMs > 0) {
        this.#delayTimer ??= setTimeout(() => {
          this.#delayTimer = undefined;
          this.#dispatch();
        }, waitMs);
        return 0;
      }
    }
    return Math.max(minDivided, Math.ceil(ready / free));
  }

  /** How many of a stream's shareable writes the batch has room for. */
  #fitting(
    tasks: readonly Task[],
    batch: { writes: number; bytes: number },
  ): number {
    const { maxShared, maxSharedBytes } = this.#options;
    let count = 0;
    for (const { write: { shared, bytes } } of tasks) {
      if (shared === undefined) break;
      const fits = batch.writes === 0 ||
        (batch.writes < maxShared && batch.bytes + bytes <= maxSharedBytes);
      if (!fits || (shared.isSingle && count > 0)) break;
      batch.writes++;
      batch.bytes += bytes;
      count++;
      if (shared.isSingle) break;
    }
    return count;
  }

  /** Each stream goes on when its own writes are settled, not all of them. */
  async #runBatch(tasks: readonly Task[], slot: Slot): Promise<void> {
    this.#enter(slot);
    this.#busySharedSlots++;
    this.#sharedAt = performance.now();
    let results: readonly Result[] | undefined;
    let isUnknown = false;
    try {
      results = await this.#options.runBatch(
        tasks.map((task) => task.write as BatchedWrite),
        this.#deadlineOf(tasks),
      );
    } catch (error) {
      isUnknown = this.#options.isUnknown(error);
    }
    for (let from = 0, to; from < tasks.length; from = to) {
      to = endOfStream(tasks, from);
      const ofStream = tasks.slice(from, to);
      if (results !== undefined) {
        this.#settleShared(ofStream, results.slice(from, to), slot);
      } else {
        this.#occupy(
          slot,
          ofStream,
          () => this.#runEach(ofStream, isUnknown, slot),
        );
      }
    }
    this.#busySharedSlots--;
    this.#leave(slot);
    this.#dispatchLater();
  }

  /** Settles the writes of one stream that were done, or not, by one transaction. */
  #settleShared(
    tasks: readonly Task[],
    results: readonly Result[],
    slot: Slot,
  ): void {
    const done = tasks.map(({ write }, i) => write.shared!.isDone(results[i]!));
    let later = done.filter(Boolean).length;
    const unsettled: Promise<void>[] = [];
    for (const [i, task] of tasks.entries()) {
      if (done[i]) {
        later--;
        task.resolve(undefined);
      } else unsettled.push(this.#explain(task, later, slot));
    }
    if (unsettled.length === 0) this.#release(tasks[0]!);
    else void Promise.all(unsettled).then(() => this.#release(tasks[0]!));
  }

  /** The transaction did nothing of this write: it is settled by itself. */
  async #explain(task: Task, later: number, slot: Slot): Promise<void> {
    const { shared } = task.write;
    this.#enter(slot);
    await this.#whenUnlocked(task, slot, () => shared!.explain(later));
    this.#leave(slot);
  }

  /** The stream is in flight, and in the slot, until its writes are settled. */
  #occupy(
    slot: Slot,
    tasks: readonly Task[],
    settle: () => Promise<void>,
  ): void {
    this.#enter(slot);
    void settle().then(() => {
      this.#release(tasks[0]!);
      this.#leave(slot);
    });
  }

  /** The oldest decides, but must not leave the others without any time. */
  #deadlineOf(tasks: readonly Task[]): number {
    const { maxWaitMs } = this.#options;
    let oldest = Infinity;
    for (const { submittedAt } of tasks) oldest = Math.min(oldest, submittedAt);
    return Math.max(oldest + maxWaitMs, performance.now() + maxWaitMs / 4);
  }

  /** Nothing more of the stream is in flight. */
  #release({ write: { streamId } }: Task): void {
    this.#queues.release(streamId);
    this.#dispatchLater();
  }

  /** One after another; those not started in time are refused. */
  async #runEach(
    tasks: readonly Task[],
    isInDoubt: boolean,
    slot: Slot,
  ): Promise<void> {
    const { maxWaitMs } = this.#options;
    for (const task of tasks) {
      if (performance.now() - task.submittedAt > maxWaitMs) {
        task.reject(queueTimeout(maxWaitMs, isInDoubt));
      } else {
        const { write } = task;
        await this.#whenUnlocked(
          task,
          slot,
          // A lock is met only after the doubt is over.
          (nth) => write.runAlone(isInDoubt && nth === 0),
        );
      }
    }
  }

  /**
   * Settles a write by running it, again and again while an outside session
   * holds the lock of its stream.
   */
  async #whenUnlocked(
    task: Task,
    slot: Slot,
    run: (nth: number) => Promise<unknown>,
  ): Promise<void> {
    const { maxWaitMs, maxLockWaitMs, isLocked } = this.#options;
    const deadline = Math.min(
      task.submittedAt + maxWaitMs,
      performance.now() + maxLockWaitMs,
    );
    for (let nth = 0;; nth++) {
      try {
        return task.resolve(await run(nth));
      } catch (error) {
        const pause = lockPauseMs(nth);
        if (!isLocked(error) || performance.now() + pause > deadline) {
          return task.reject(error);
        }
        const { signal } = task.write;
        // Others have the slot meanwhile.
        this.#leave(slot);
        await delay(pause, undefined, { signal }).catch(() => {});
        this.#enter(slot);
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

  /** Refuses what has waited too long, before it is sent. */
  #refuseOld(): void {
    const { maxWaitMs } = this.#options;
    this.#oldTimer = undefined;
    const earliest = performance.now() - maxWaitMs;
    let oldest = Infinity;
    for (const task of this.#queues.all()) {
      if (task.submittedAt > earliest) {
        oldest = Math.min(oldest, task.submittedAt);
      } else this.#refuse(task, queueTimeout(maxWaitMs));
    }
    if (oldest < Infinity) this.#refuseOldLater(oldest);
  }

  #checkDrained(): void {
    if (this.#queues.isEmpty) this.#drained?.();
  }
}

/** The writes of a stream stand together: where the next stream's begin. */
function endOfStream(tasks: readonly Task[], from: number): number {
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
