/**
 * The transaction slots of a write queue, and what runs in them: a batch, or one
 * write after another, until each has its result. See the head of write_queue.ts.
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Result } from "../../database/statement.ts";
import type { BatchedWrite } from "./queued_write.ts";
import type { Task } from "./stream_queues.ts";
import { dueOf, isTableLocked, late } from "./write_deadlines.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/** How soon a write that is in flight notices that its table is free. */
const lockPollMs = 50;

/** Busy while a write uses it. */
interface Slot {
  users: number;
  background: boolean;
}

/** What the slots need of the queue that they serve. */
export interface SlotsQueue {
  /** Nothing more of the task's stream is in flight. */
  release(task: Task): void;
  /** Their tables are locked: they wait again. */
  putBack(tasks: readonly Task[]): void;
  /** A slot, or room in one, may be free. */
  dispatchLater(): void;
}

/** See the file's head. */
export class TransactionSlots {
  readonly #options: WriteQueueOptions;
  readonly #queue: SlotsQueue;
  #busy = 0;
  #busyBackground = 0;
  #busyShared = 0;
  #sharedAt = 0;

  constructor(options: WriteQueueOptions, queue: SlotsQueue) {
    this.#options = options;
    this.#queue = queue;
  }

  /** Slots that a caller's write uses. */
  get busy(): number {
    return this.#busy;
  }

  /** Slots that a background write uses. */
  get busyBackground(): number {
    return this.#busyBackground;
  }

  /** Shared transactions in flight. */
  get busyShared(): number {
    return this.#busyShared;
  }

  /** When the last shared transaction began. */
  get sharedAt(): number {
    return this.#sharedAt;
  }

  /** Runs what was taken of the queue, in a slot of its own. */
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

  /** Each stream goes on when its own writes are settled, not all of them. */
  async #runBatch(tasks: readonly Task[], slot: Slot): Promise<void> {
    this.#enter(slot);
    this.#busyShared++;
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
    this.#busyShared--;
    this.#leave(slot);
    this.#queue.dispatchLater();
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
    if (unsettled.length === 0) this.#queue.release(tasks[0]!);
    else void Promise.all(unsettled).then(() => this.#queue.release(tasks[0]!));
  }

  /** The transaction did nothing of this write: it is settled by itself. */
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

  /** The stream is in flight, and in the slot, until its writes are settled. */
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

  /** The oldest decides, but must not leave the others without any time. */
  #deadlineOf(tasks: readonly Task[]): number {
    const { maxWaitMs } = this.#options;
    let oldest = Infinity;
    for (const { submittedAt } of tasks) oldest = Math.min(oldest, submittedAt);
    return Math.max(oldest + maxWaitMs, performance.now() + maxWaitMs / 4);
  }

  /**
   * One after another; those not started in time are refused, and those whose
   * tables are locked wait again.
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
   * holds the lock of its stream. False: its tables are locked, it is not settled.
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
        // It may have met the lock before it could find out.
        task.isInDoubt &&= isUnknown(error);
        await locks.look();
        if (isTableLocked(this.#options, task)) return false;
        const { signal } = task.write;
        // Others have the slot meanwhile.
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

/** In doubt it has to be looked for, alone. */
export function isShareable({ write, isInDoubt }: Task): boolean {
  return write.shared !== undefined && !isInDoubt;
}

/** The writes of a stream stand together: where the next stream's begin. */
function endOfStream(tasks: readonly Task[], from: number): number {
  const { streamId } = tasks[from]!.write;
  let to = from + 1;
  while (to < tasks.length && tasks[to]!.write.streamId === streamId) to++;
  return to;
}

/** Jittered: 5 to 10 ms at first, at last 50 to 100. */
function lockPauseMs(nth: number): number {
  return Math.min(100, 10 * 2 ** nth) * (0.5 + Math.random() / 2);
}
