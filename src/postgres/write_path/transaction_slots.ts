/**
 * The transaction slots of a write queue, and what runs in them until each
 * write has its result: a batch, or one write after another. See the head of
 * write_queue.ts.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import { setTimeout as delay } from "node:timers/promises";
import type { Result } from "../../database/statement.ts";
import { type BatchedWrite, countOf } from "./queued_write.ts";
import type { Task } from "./stream_queues.ts";
import { dueOf, isTableLocked, late } from "./write_deadlines.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/** Milliseconds between looks of a write in flight whose table is locked. */
const lockPollMs = 50;

/** A slot is busy while `users` is above 0. */
interface Slot {
  users: number;
  background: boolean;
}

/** What the slots need of their queue. */
export interface SlotsQueue {
  /** Called when nothing of the task's stream is in flight any more. */
  release(task: Task): void;
  /** Called with writes whose tables are locked, which must wait again. */
  putBack(tasks: readonly Task[]): void;
  /** Called when a slot, or room in one, may be free. */
  dispatchLater(): void;
}

/** Runs batches and single writes in slots; see the file's head. */
export class TransactionSlots {
  readonly #options: WriteQueueOptions;
  readonly #queue: SlotsQueue;
  #busy = 0;
  #busyBackground = 0;
  /** Numbers of shared transactions in flight; a new one gets the lowest. */
  readonly #shared = new Set<number>();
  #sharedAt = 0;

  constructor(options: WriteQueueOptions, queue: SlotsQueue) {
    this.#options = options;
    this.#queue = queue;
  }

  /** The number of slots that run callers' writes. */
  get busy(): number {
    return this.#busy;
  }

  /** The number of slots that run background writes. */
  get busyBackground(): number {
    return this.#busyBackground;
  }

  /** Shared transactions in flight. */
  get busyShared(): number {
    return this.#shared.size;
  }

  /**
   * Which streams the next shared transaction should take; undefined: any. If
   * many are ready, it should take those of its group, so that each connection
   * uses the tables of its own partitions.
   */
  groupFor(ready: number): ((streamId: StreamId) => boolean) | undefined {
    const { sharedSlots, minDivided, groupOf } = this.#options;
    if (groupOf === undefined || ready < minDivided) return undefined;
    const group = this.#nextShared();
    return (streamId) => groupOf(streamId) % sharedSlots === group;
  }

  #nextShared(): number {
    let number = 0;
    while (this.#shared.has(number)) number++;
    return number;
  }

  /** When the last shared transaction began. */
  get sharedAt(): number {
    return this.#sharedAt;
  }

  /** Runs what the queue has taken, in a slot of its own. */
  start(taken: readonly Task[], background = false): void {
    const slot = { users: 0, background };
    if (isShareable(taken[0]!)) this.#runBatch(taken, slot);
    else this.#occupy(slot, taken, () => this.#runEach(taken, slot));
  }

  #enter(slot: Slot): void {
    if (slot.users++ === 0) this.#countSlot(slot, 1);
  }

  #leave(slot: Slot): void {
    if (--slot.users > 0) return;
    this.#countSlot(slot, -1);
    this.#queue.dispatchLater();
  }

  #countSlot({ background }: Slot, step: 1 | -1): void {
    if (background) this.#busyBackground += step;
    else this.#busy += step;
  }

  /** Runs a batch. Each stream goes on once its own writes are settled. */
  async #runBatch(tasks: readonly Task[], slot: Slot): Promise<void> {
    this.#enter(slot);
    const number = this.#nextShared();
    this.#shared.add(number);
    this.#sharedAt = performance.now();
    const { isLocked, isUnknown, locks } = this.#options;
    let results: readonly Result[] | undefined;
    try {
      results = await this.#options.runBatch(
        tasks.map((task) => task.write as BatchedWrite),
        this.#deadlineOf(tasks),
      );
    } catch (error) {
      const isInDoubt = isUnknown(error);
      for (const task of tasks) task.isInDoubt = isInDoubt;
      if (isLocked(error)) await locks.look();
    }
    for (let from = 0, to; from < tasks.length; from = to) {
      to = endOfStream(tasks, from);
      const ofStream = tasks.slice(from, to);
      if (results !== undefined) {
        this.#settleShared(ofStream, results.slice(from, to), slot);
      } else {
        this.#occupy(slot, ofStream, () => this.#runEach(ofStream, slot));
      }
    }
    this.#shared.delete(number);
    this.#leave(slot);
    this.#queue.dispatchLater();
  }

  /** Settles the writes of one stream after their transaction has committed. */
  #settleShared(
    tasks: readonly Task[],
    results: readonly Result[],
    slot: Slot,
  ): void {
    const done = results.map((result) => countOf(result) === 1);
    let later = done.filter(Boolean).length;
    const unsettled: Promise<void>[] = [];
    for (const [i, task] of tasks.entries()) {
      if (done[i]) {
        later--;
        task.write.shared!.done?.(results[i]!.rows[0]!);
        task.resolve(undefined);
      } else unsettled.push(this.#explain(task, later, slot));
    }
    if (unsettled.length === 0) this.#queue.release(tasks[0]!);
    else void Promise.all(unsettled).then(() => this.#queue.release(tasks[0]!));
  }

  /** Settles a write whose statement in the transaction changed nothing. */
  async #explain(task: Task, later: number, slot: Slot): Promise<void> {
    const { shared } = task.write;
    this.#enter(slot);
    const explain = () => shared!.explain(later);
    while (!await this.#whenUnlocked(task, slot, explain)) {
      this.#leave(slot);
      while (
        isTableLocked(this.#options, task) &&
        performance.now() < dueOf(this.#options, task)
      ) {
        await delay(lockPollMs);
      }
      this.#enter(slot);
    }
    this.#leave(slot);
  }

  /** Keeps the stream in flight, and the slot busy, until `settle` is done. */
  #occupy(
    slot: Slot,
    tasks: readonly Task[],
    settle: () => Promise<void>,
  ): void {
    this.#enter(slot);
    void settle().then(() => {
      this.#queue.release(tasks[0]!);
      this.#leave(slot);
    });
  }

  /** The oldest write decides, but leaves the others a quarter of the time. */
  #deadlineOf(tasks: readonly Task[]): number {
    const { maxWaitMs } = this.#options;
    let oldest = Infinity;
    for (const { submittedAt } of tasks) oldest = Math.min(oldest, submittedAt);
    return Math.max(oldest + maxWaitMs, performance.now() + maxWaitMs / 4);
  }

  /**
   * Runs writes one after another. Refuses those not started in time, and puts
   * those back whose tables are locked.
   */
  async #runEach(tasks: readonly Task[], slot: Slot): Promise<void> {
    const { maxWaitMs } = this.#options;
    for (const [i, task] of tasks.entries()) {
      const { write, submittedAt } = task;
      if (performance.now() - submittedAt > maxWaitMs) {
        task.reject(late(this.#options, task));
      } else if (
        isTableLocked(this.#options, task) ||
        !await this.#whenUnlocked(
          task,
          slot,
          () => write.runAlone(task.isInDoubt),
        )
      ) {
        return this.#queue.putBack(tasks.slice(i));
      }
    }
  }

  /**
   * Settles a write by running it, again and again while an outside session
   * holds its stream's lock. Returns false, without settling it, if its tables
   * are locked.
   */
  async #whenUnlocked(
    task: Task,
    slot: Slot,
    run: () => Promise<unknown>,
  ): Promise<boolean> {
    const { maxWaitMs, maxLockWaitMs, isLocked, isUnknown, locks } =
      this.#options;
    const deadline = Math.min(
      task.submittedAt + maxWaitMs,
      performance.now() + maxLockWaitMs,
    );
    for (let nth = 0;; nth++) {
      try {
        task.resolve(await run());
        return true;
      } catch (error) {
        const pause = lockPauseMs(nth);
        if (!isLocked(error) || performance.now() + pause > deadline) {
          task.reject(error);
          return true;
        }
        // If the run met the lock before it could look, the write is still in
        // doubt.
        task.isInDoubt &&= isUnknown(error);
        await locks.look();
        if (isTableLocked(this.#options, task)) return false;
        const { signal } = task.write;
        // Another write may use the slot during the pause.
        this.#leave(slot);
        await delay(pause, undefined, { signal }).catch(() => {});
        this.#enter(slot);
        if (!signal?.aborted) continue;
        task.reject(task.isInDoubt ? error : signal.reason);
        return true;
      }
    }
  }
}

/** A write in doubt has to be looked for, and so runs alone. */
export function isShareable({ write, isInDoubt }: Task): boolean {
  return write.shared !== undefined && !isInDoubt;
}

/** Where the next stream's writes begin; a stream's writes are adjacent. */
function endOfStream(tasks: readonly Task[], from: number): number {
  const { streamId } = tasks[from]!.write;
  let to = from + 1;
  while (to < tasks.length && tasks[to]!.write.streamId === streamId) to++;
  return to;
}

/** A random pause: 5 to 10 ms at first, 50 to 100 ms at last. */
function lockPauseMs(nth: number): number {
  return Math.min(100, 10 * 2 ** nth) * (0.5 + Math.random() / 2);
}
