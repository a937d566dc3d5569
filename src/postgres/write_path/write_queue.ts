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
 *        │  ▲         └──▶ a table is locked: waiting, set aside
 *        │  └────────────────────────────┘ the table is free
 *        └──▶ refused: aborted, past its deadline, or closed
 *
 * Invariants
 * 1. A stream has writes in at most one batch, and later ones wait until
 *    these have settled. Other streams of the batch do not hold it up.
 * 2. A promise settles only once its transaction has committed, has failed,
 *    or has lost its connection and been looked for.
 * 3. No write fails because of another write in its batch.
 *
 * Failures. When a shared transaction fails, each of its writes is run again in
 * a transaction of its own, with retries, and gets its own result. If the
 * answer was lost, the rerun first looks whether the write was done
 * (transactions.ts). If the transaction commits but a write's statement changed
 * nothing, that write alone is run again or has its reason looked up.
 *
 * Locks. No transaction waits on the server for a stream lock that an outside
 * session holds, for example one whose client has died. A few such streams
 * would occupy every slot and stop the store. The lock fails at once (NOWAIT);
 * the write tries again after a pause during which it holds no slot.
 *
 * PostgreSQL has no NOWAIT for the lock of a table, so a transaction waits for
 * one, but not long. Then the batch's writes to locked tables return to the
 * head of their stream queues. They are set aside, with all other writes of
 * these partitions, and take no slot until the tables are free
 * (locked_partitions.ts). The other writes of the batch run alone, so one
 * locked partition does not stop the rest.
 *
 * Cancellation. A signal stops a write that is waiting, also between two lock
 * attempts, but never one that is in flight or in doubt.
 *
 * Background writes have slots of their own, so callers wait for them only on
 * the same stream.
 *
 * Bounds: the number and bytes of waiting writes, the number and bytes of a
 * batch, and the time from submission to the start of the transaction.
 */

import { setImmediate } from "node:timers";
import { atMost } from "../../storage/at_most.ts";
import { closed } from "../../storage/contract_errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Write } from "./queued_write.ts";
import { StreamQueues, type Task } from "./stream_queues.ts";
import { isShareable, TransactionSlots } from "./transaction_slots.ts";
import { dueOf, late } from "./write_deadlines.ts";
import { queueFull, queueTimeout } from "./write_queue_errors.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/**
 * Batching delay: the longest time that a small batch waits behind a running
 * one. Longer than a commit takes; a transaction that runs longer waits for
 * something other than the disk.
 */
const batchingDelayMs = 10;

/** Writes that one turn of the event loop refuses at most, if many are late. */
const maxRefused = 500;

/** Orders and batches writes; see the file's head. */
export class WriteQueue {
  readonly #options: WriteQueueOptions;
  readonly #queues: StreamQueues;
  readonly #slots: TransactionSlots;
  #oldTimer: ReturnType<typeof setTimeout> | undefined;
  #oldDue = Infinity;
  #dispatching = false;
  #dispatchingLater = false;
  #delayTimer: ReturnType<typeof setTimeout> | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;
  #isOver = false;

  constructor(options: WriteQueueOptions) {
    this.#options = options;
    const { locks } = options;
    this.#queues = new StreamQueues((id) => locks.since(id) !== undefined);
    this.#slots = new TransactionSlots(options, {
      release: (task) => this.#release(task),
      putBack: (tasks) => this.#putBack(tasks),
      dispatchLater: () => this.#dispatchLater(),
    });
    locks.onChange(() => {
      this.#queues.bringBack();
      this.#refuseOld();
      this.#dispatchSoon();
    });
  }

  /** Waiting writes and busy transaction slots, for metrics. */
  get state(): { waiting: number; waitingBytes: number; busySlots: number } {
    const { waiting, waitingBytes } = this.#queues;
    return { waiting, waitingBytes, busySlots: this.#slots.busy };
  }

  /**
   * Queues a write. The promise settles once the write has its result.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`write_queue_full`),
   *   FAILED_PRECONDITION (`closed`), DEADLINE_EXCEEDED (`queue_timeout`,
   *   `lock_timeout`), the signal's reason, or what the write itself throws.
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
      isInDoubt: false,
    };
    this.#enqueue(task);
    return promise as Promise<T>;
  }

  /** Takes no more writes; waits for those here, at most `budgetMs`. */
  close(budgetMs: number): Promise<void> {
    this.#closing ??= this.#close(budgetMs);
    return this.#closing;
  }

  async #close(budgetMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    this.#checkDrained();
    await atMost(budgetMs, promise);
    clearTimeout(this.#oldTimer);
    clearTimeout(this.#delayTimer);
    this.#isOver = true;
    for (const task of this.#queues.all()) this.#refuse(task, this.#over(task));
  }

  /** The error of a write that closing has left unsent. */
  #over({ isInDoubt }: Task): unknown {
    return isInDoubt ? queueTimeout(this.#options.maxWaitMs, true) : closed();
  }

  #refusal(write: Write): unknown {
    if (this.#closing !== undefined) return closed();
    if (write.signal?.aborted) return write.signal.reason;
    const { maxWaiting, maxWaitingBytes } = this.#options;
    const { waiting, waitingBytes } = this.#queues;
    // A single write is always taken, however large; otherwise it never could
    // be.
    if (
      waiting >= maxWaiting ||
      (waiting > 0 && waitingBytes + write.bytes > maxWaitingBytes)
    ) return queueFull(this.#options, { waiting, waitingBytes });
    return undefined;
  }

  #enqueue(task: Task): void {
    const isReady = this.#queues.add(task);
    this.#refuseOldLater(dueOf(this.#options, task));
    if (isReady) this.#dispatchSoon();
    this.#heedAbort(task);
  }

  #heedAbort(task: Task): void {
    const { signal } = task.write;
    if (signal === undefined) return;
    task.onAbort = () => this.#refuse(task, signal.reason);
    signal.addEventListener("abort", task.onAbort, { once: true });
  }

  /** Puts writes to locked tables back, at the head of their stream queue. */
  #putBack(tasks: readonly Task[]): void {
    const waiting = tasks.filter((task) => {
      const { write: { signal }, isInDoubt } = task;
      if (this.#isOver) task.reject(this.#over(task));
      else if (signal?.aborted && !isInDoubt) task.reject(signal.reason);
      else return true;
      return false;
    });
    if (waiting.length === 0) return;
    this.#queues.putBack(waiting);
    for (const task of waiting) {
      this.#refuseOldLater(dueOf(this.#options, task));
      // A write in doubt can't be aborted: first the queue has to find out
      // whether it was done.
      if (!task.isInDoubt) this.#heedAbort(task);
    }
  }

  /** Removes a waiting write, of which nothing is on its way. */
  #refuse(task: Task, error: unknown): void {
    this.#queues.remove(task);
    ignoreAbort(task);
    task.reject(error);
    this.#checkDrained();
  }

  /** Dispatches once for all calls of one turn of the event loop. */
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
    while (this.#slots.busy < this.#options.slots) {
      const taken = this.#take();
      if (taken.length === 0) break;
      this.#slots.start(taken);
    }
    this.#dispatchBackground();
    this.#checkDrained();
  }

  #dispatchBackground(): void {
    const { backgroundSlots = 0 } = this.#options;
    let free = backgroundSlots - this.#slots.busyBackground;
    const taken = this.#queues.take(([first]) => {
      if (free <= 0) return undefined;
      if (!first!.write.background) return 0;
      free--;
      return 1;
    });
    for (const task of taken) {
      ignoreAbort(task);
      this.#slots.start([task], true);
    }
  }

  /**
   * The next batch of a slot: one write that runs alone, or as many shareable
   * writes as fit. Empty if all that is ready has to wait for another kind of
   * slot.
   */
  #take(): readonly Task[] {
    const most = this.#mostStreams();
    const group = this.#slots.groupFor(this.#queues.ready);
    let taken = this.#takeThose(most, group);
    if (taken.length === 0 && group) taken = this.#takeThose(most);
    taken.forEach(ignoreAbort);
    return taken;
  }

  #takeThose(most: number, group?: (id: StreamId) => boolean): Task[] {
    const batch = { streams: 0, writes: 0, bytes: 0 };
    let isAlone = false;
    return this.#queues.take((tasks) => {
      if (isAlone) return undefined;
      if (tasks[0]!.write.background) return 0;
      if (!isShareable(tasks[0]!)) {
        isAlone = batch.streams === 0;
        return isAlone ? 1 : 0;
      }
      // Shareable writes wait for a shared slot; one that runs alone may go.
      if (batch.streams >= most) return most > 0 ? undefined : 0;
      if (group && !group(tasks[0]!.write.streamId)) return 0;
      const count = this.#fitting(tasks, batch);
      if (count === 0) return undefined;
      batch.streams++;
      return count;
    });
  }

  /**
   * How many streams a shared transaction may take now. If few are ready, they
   * wait for the shared transaction in flight, because two commits would wait
   * for the disk one after the other. If that transaction takes long, a timer
   * starts them. If many are ready, they are divided among the free slots, so
   * that the server works on all of them at once.
   */
  #mostStreams(): number {
    const { sharedSlots, minDivided } = this.#options;
    const free = sharedSlots - this.#slots.busyShared;
    const { ready } = this.#queues;
    if (free <= 0 || ready === 0) return 0;
    if (ready < minDivided && free < sharedSlots) {
      const waitMs = this.#slots.sharedAt + batchingDelayMs - performance.now();
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
    for (const task of tasks) {
      if (!isShareable(task)) break;
      const { bytes, shared } = task.write;
      const fits = batch.writes === 0 ||
        (batch.writes < maxShared && batch.bytes + bytes <= maxSharedBytes);
      if (!fits || (shared!.isSingle && count > 0)) break;
      batch.writes++;
      batch.bytes += bytes;
      count++;
      if (shared!.isSingle) break;
    }
    return count;
  }

  /** Ends the flight of the task's stream. */
  #release({ write: { streamId } }: Task): void {
    this.#queues.release(streamId);
    this.#dispatchLater();
  }

  /** Sets the one timer for all waiting writes to the one that is due first. */
  #refuseOldLater(due: number): void {
    if (due >= this.#oldDue) return;
    clearTimeout(this.#oldTimer);
    this.#oldDue = due;
    this.#oldTimer = setTimeout(
      () => this.#refuseOld(),
      Math.max(0, due - performance.now()),
    );
  }

  /** Refuses the writes that have waited too long; nothing of them was sent. */
  #refuseOld(): void {
    clearTimeout(this.#oldTimer);
    this.#oldDue = Infinity;
    const now = performance.now();
    let next = Infinity;
    let refused = 0;
    for (const task of this.#queues.all()) {
      const due = dueOf(this.#options, task);
      if (due > now || refused >= maxRefused) next = Math.min(next, due);
      else {
        refused++;
        this.#refuse(task, late(this.#options, task));
      }
    }
    if (next < Infinity) this.#refuseOldLater(next);
  }

  #checkDrained(): void {
    if (this.#queues.isEmpty) this.#drained?.();
  }
}

/** For a task that waits no longer: from then on, no signal stops it. */
function ignoreAbort({ write, onAbort }: Task): void {
  if (onAbort !== undefined) {
    write.signal!.removeEventListener("abort", onAbort);
  }
}
