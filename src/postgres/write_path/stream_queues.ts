/**
 * The writes that wait, in one *stream queue* for each stream, in the order of
 * submission. A stream queue is *ready* when its first write may start. While
 * some of its writes are in flight it is not ready, whatever waits behind them.
 * A stream queue whose writes would meet a lock is *set aside* when its turn
 * comes, until `bringBack`.
 *
 * Tens of thousands of stream queues come and go in a second. A map or set with
 * so many deletions copies itself again and again, and each copy keeps the next
 * one, with everything in it, from being collected. Measured without the
 * network, that took a third of the client's time. So the ready stream queues
 * are an array, and empty stream queues stay in the map for a while.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import type { Write } from "./queued_write.ts";

/** A write, and the functions that settle its promise. */
export interface Task {
  readonly write: Write;
  /** When the write was made, in the time of `performance.now()`. */
  readonly submittedAt: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onAbort: (() => void) | undefined;
  /** A transaction that included the write has lost its answer. */
  isInDoubt: boolean;
}

interface StreamQueue {
  readonly streamId: StreamId;
  readonly tasks: Task[];
  inFlight: boolean;
  isAside: boolean;
}

/** How many empty stream queues the map keeps at most. */
const maxEmpty = 4096;

/** Waiting writes in stream queues; see the file's head. */
export class StreamQueues {
  #queues = new Map<StreamId, StreamQueue>();
  /** Stream queues with a write that waits or is in flight. */
  #inUse = 0;
  /** The stream queue that has been ready longest comes first. */
  readonly #ready: StreamQueue[] = [];
  #aside: StreamQueue[] = [];
  readonly #isLocked: (streamId: StreamId) => boolean;
  #waiting = 0;
  #waitingBytes = 0;

  /** `isLocked` says whether the stream's writes would meet a lock. */
  constructor(isLocked: (streamId: StreamId) => boolean = () => false) {
    this.#isLocked = isLocked;
  }

  /** The number of writes that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The payload bytes of the writes that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** The number of stream queues that are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Whether no write waits and none is in flight. */
  get isEmpty(): boolean {
    return this.#inUse === 0;
  }

  /**
   * Puts a write behind the others of its stream. Returns true unless writes of
   * the stream are in flight.
   */
  add(task: Task): boolean {
    const { streamId, bytes } = task.write;
    let queue = this.#queues.get(streamId);
    if (queue === undefined) {
      queue = { streamId, tasks: [], inFlight: false, isAside: false };
      this.#queues.set(streamId, queue);
    }
    this.#waiting++;
    this.#waitingBytes += bytes;
    queue.tasks.push(task);
    if (queue.inFlight) return false;
    if (queue.tasks.length === 1) {
      this.#inUse++;
      this.#ready.push(queue);
    }
    return true;
  }

  /** Removes a write that waits. */
  remove(task: Task): void {
    const queue = this.#queues.get(task.write.streamId)!;
    queue.tasks.splice(queue.tasks.indexOf(task), 1);
    this.#left(task);
    if (queue.tasks.length > 0 || queue.inFlight) return;
    const among = queue.isAside ? this.#aside : this.#ready;
    among.splice(among.indexOf(queue), 1);
    queue.isAside = false;
    this.#emptied();
  }

  /** Returns writes that were in flight to the head of their stream queue. */
  putBack(tasks: readonly Task[]): void {
    this.#queues.get(tasks[0]!.write.streamId)!.tasks.unshift(...tasks);
    for (const { write: { bytes } } of tasks) {
      this.#waiting++;
      this.#waitingBytes += bytes;
    }
  }

  /** Makes the stream queues that were set aside ready again. */
  bringBack(): void {
    for (const queue of this.#aside) {
      queue.isAside = false;
      this.#ready.push(queue);
    }
    this.#aside = [];
  }

  /**
   * Goes over the ready stream queues. For each, `choose` returns how many of
   * its writes start: 0 leaves the stream queue where it is, undefined ends the
   * search.
   */
  take(choose: (tasks: readonly Task[]) => number | undefined): Task[] {
    const taken: Task[] = [];
    const ready = this.#ready;
    let kept = 0;
    let at = 0;
    for (; at < ready.length; at++) {
      const queue = ready[at]!;
      if (this.#isLocked(queue.streamId)) {
        queue.isAside = true;
        this.#aside.push(queue);
        continue;
      }
      const count = choose(queue.tasks);
      if (count === undefined) break;
      if (count === 0) ready[kept++] = queue;
      else this.#start(queue, count, taken);
    }
    ready.splice(kept, at - kept);
    return taken;
  }

  /** Ends the flight of the stream's writes: its next ones may start. */
  release(streamId: StreamId): void {
    const queue = this.#queues.get(streamId)!;
    queue.inFlight = false;
    if (queue.tasks.length > 0) this.#ready.push(queue);
    else this.#emptied();
  }

  /** All writes that wait. */
  all(): Task[] {
    return [...this.#queues.values()].flatMap(({ tasks }) => tasks);
  }

  #start(queue: StreamQueue, count: number, taken: Task[]): void {
    queue.inFlight = true;
    // Taken out together: one `shift` for each would move all writes behind it.
    for (const task of queue.tasks.splice(0, count)) {
      this.#left(task);
      taken.push(task);
    }
  }

  #left({ write: { bytes } }: Task): void {
    this.#waiting--;
    this.#waitingBytes -= bytes;
  }

  #emptied(): void {
    this.#inUse--;
    if (this.#queues.size - this.#inUse <= maxEmpty) return;
    const inUse = [...this.#queues].filter(([, { tasks, inFlight }]) =>
      tasks.length > 0 || inFlight
    );
    this.#queues = new Map(inUse);
  }
}
