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
import type { StreamId } from "../storage/stream_id.ts";
import type { LoadedWrite, Write } from "./queued_write.ts";
import { queueFull, queueTimeout } from "./write_queue_errors.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/** Longer than a commit takes; what lasts longer waits for something else. */
const patienceMs = 10;

interface Task {
  write: Write;
  since: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onAbort: (() => void) | undefined;
}

interface Line {
  streamId: StreamId;
  tasks: Task[];
  underWay: boolean;
}

/** Busy while anybody uses it. */
interface Lane {
  users: number;
  background: boolean;
}

/** Orders and groups writes; see the file's head. */
export class WriteQueue {
  readonly #options: WriteQueueOptions;
  readonly #lines = new Map<StreamId, Line>();
  /** Lines with waiting tasks that are not under way, longest ready first. */
  readonly #ready = new Set<Line>();
  #busyLanes = 0;
  #busyBackgroundLanes = 0;
  #busySharedLanes = 0;
  /** The waiting tasks of all lines, the oldest first. */
  readonly #waiting = new Set<Task>();
  #waitingBytes = 0;
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
    return {
      waiting: this.#waiting.size,
      waitingBytes: this.#waitingBytes,
      busyLanes: this.#busyLanes,
    };
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
      since: performance.now(),
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
    for (const line of this.#lines.values()) {
      for (const task of [...line.tasks]) this.#refuse(task, closed());
    }
  }

  #refusal(write: Write): unknown {
    if (this.#closed) return closed();
    if (write.signal?.aborted) return write.signal.reason;
    const { maxWaiting, maxWaitingBytes } = this.#options;
    const bytes = this.#waitingBytes + write.bytes;
    // One write is always taken, however large, or it could never be.
    if (
      this.#waiting.size >= maxWaiting ||
      (this.#waiting.size > 0 && bytes > maxWaitingBytes)
    ) {
      return queueFull(this.#options, {
        waiting: this.#waiting.size,
        waitingBytes: this.#waitingBytes,
      });
    }
    return undefined;
  }

  #enqueue(task: Task): void {
    const { streamId, bytes, signal } = task.write;
    let line = this.#lines.get(streamId);
    if (line === undefined) {
      line = { streamId, tasks: [], underWay: false };
      this.#lines.set(streamId, line);
    }
    line.tasks.push(task);
    this.#waiting.add(task);
    this.#waitingBytes += bytes;
    this.#refuseOldLater(task);
    if (!line.underWay) {
      this.#ready.add(line);
      this.#pumpSoon();
    }
    if (signal !== undefined) {
      task.onAbort = () => this.#refuse(task, signal.reason);
      signal.addEventListener("abort", task.onAbort, { once: true });
    }
  }

  /** Takes a waiting task out; it was never sent. */
  #refuse(task: Task, error: unknown): void {
    const line = this.#lines.get(task.write.streamId)!;
    line.tasks.splice(line.tasks.indexOf(task), 1);
    this.#started(task);
    if (line.tasks.length === 0) this.#ready.delete(line);
    this.#retire(line);
    task.reject(error);
    this.#checkDrained();
  }

  /** The task waits no longer. */
  #started(task: Task): void {
    this.#waiting.delete(task);
    this.#waitingBytes -= task.write.bytes;
    if (task.onAbort !== undefined) {
      task.write.signal!.removeEventListener("abort", task.onAbort);
    }
  }

  #retire(line: Line): void {
    if (line.tasks.length > 0 || line.underWay) return;
    this.#lines.delete(line.streamId);
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
    for (const line of this.#ready) {
      if (this.#busyBackgroundLanes >= backgroundLanes) return;
      if (!line.tasks[0]!.write.background) continue;
      const task = line.tasks.shift()!;
      line.underWay = true;
      this.#ready.delete(line);
      this.#started(task);
      this.#start([task], true);
    }
  }

  /**
   * The next load of a lane: one write that runs alone, or as many shareable
   * ones as fit; nothing if all that is ready has to wait for its kind of lane.
   */
  #take(): readonly Task[] {
    const most = this.#mostLines();
    const taken: Task[] = [];
    const load = { lines: 0, writes: 0, bytes: 0 };
    for (const line of this.#ready) {
      const { shared, background } = line.tasks[0]!.write;
      if (background) continue;
      const isShareable = shared !== undefined;
      if (isShareable ? load.lines >= most : taken.length > 0) continue;
      if (isShareable) {
        if (!this.#fill(taken, line, load)) break;
        load.lines++;
      } else taken.push(line.tasks.shift()!);
      line.underWay = true;
      this.#ready.delete(line);
      if (!isShareable) break;
    }
    for (const task of taken) this.#started(task);
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
    const ready = this.#ready.size;
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

  /** Adds a line's shareable writes; false when there was no room for any. */
  #fill(
    taken: Task[],
    line: Line,
    load: { writes: number; bytes: number },
  ): boolean {
    const { maxShared, maxSharedBytes } = this.#options;
    const before = load.writes;
    for (;;) {
      const write = line.tasks[0]?.write;
      if (write?.shared === undefined) break;
      const fits = load.writes === 0 ||
        (load.writes < maxShared && load.bytes + write.bytes <= maxSharedBytes);
      if (!fits || (write.shared.isSingle && load.writes > before)) break;
      load.writes++;
      load.bytes += write.bytes;
      taken.push(line.tasks.shift()!);
      if (write.shared.isSingle) break;
    }
    return load.writes > before;
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
    for (const [line, start] of linesOf(tasks)) {
      if (results === undefined) {
        this.#occupy(lane, line, () => this.#runEach(line, isUnknown, lane));
      } else {
        const own = results.slice(start, start + line.length);
        this.#settleShared(line, own, lane);
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
    if (later === line.length) {
      for (const task of line) task.resolve(undefined);
      this.#release(line);
      return;
    }
    this.#occupy(lane, line, async () => {
      const unsettled: Promise<void>[] = [];
      for (const [i, task] of line.entries()) {
        if (done[i]) {
          later--;
          task.resolve(undefined);
        } else {
          const explained = task.write.shared!.explain(later);
          unsettled.push(explained.then(task.resolve, task.reject));
        }
      }
      await Promise.all(unsettled);
    });
  }

  /** The line is under way, and in the lane, until its writes are settled. */
  #occupy(
    lane: Lane,
    line: readonly Task[],
    settle: () => Promise<void>,
  ): void {
    this.#enter(lane);
    void settle().then(() => {
      this.#release(line);
      this.#leave(lane);
    });
  }

  /** The oldest decides, but must not leave its company without any time. */
  #latestOf(tasks: readonly Task[]): number {
    const { maxWaitMs } = this.#options;
    const oldest = Math.min(...tasks.map((task) => task.since));
    return Math.max(oldest + maxWaitMs, performance.now() + maxWaitMs / 4);
  }

  #release(tasks: readonly Task[]): void {
    const line = this.#lines.get(tasks[0]!.write.streamId)!;
    line.underWay = false;
    if (line.tasks.length > 0) this.#ready.add(line);
    this.#retire(line);
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
      } else await this.#runAlone(task, unknown, lane);
    }
  }

  /** Again and again while somebody else holds the lock of its stream. */
  async #runAlone(task: Task, unknown: boolean, lane: Lane): Promise<void> {
    const { maxWaitMs, maxLockWaitMs, isLocked } = this.#options;
    const latest = Math.min(
      task.since + maxWaitMs,
      performance.now() + maxLockWaitMs,
    );
    for (let nth = 0;; nth++) {
      try {
        return task.resolve(await task.write.runAlone(unknown));
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
  #refuseOldLater(oldest: Task): void {
    const { maxWaitMs } = this.#options;
    this.#oldTimer ??= setTimeout(
      () => this.#refuseOld(),
      Math.max(0, oldest.since + maxWaitMs - performance.now()),
    );
  }

  /** Whoever waited too long is refused before it is sent. */
  #refuseOld(): void {
    const { maxWaitMs } = this.#options;
    this.#oldTimer = undefined;
    const oldest = performance.now() - maxWaitMs;
    for (const task of this.#waiting) {
      if (task.since > oldest) return this.#refuseOldLater(task);
      this.#refuse(task, queueTimeout(maxWaitMs));
    }
  }

  #checkDrained(): void {
    if (this.#lines.size === 0) this.#drained?.();
  }
}

/** The tasks of each line, which stand together, and where they begin. */
function linesOf(tasks: readonly Task[]): [line: Task[], start: number][] {
  const lines: [Task[], number][] = [];
  let streamId: StreamId | undefined;
  for (const [i, task] of tasks.entries()) {
    if (task.write.streamId !== streamId) lines.push([[], i]);
    streamId = task.write.streamId;
    lines.at(-1)![0].push(task);
  }
  return lines;
}

/** Jittered: 5 to 10 ms at first, at last 50 to 100. */
function lockPauseMs(nth: number): number {
  return Math.min(100, 10 * 2 ** nth) * (0.5 + Math.random() / 2);
}
