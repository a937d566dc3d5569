/**
 * The writes that wait, in one *stream queue* for each stream, in the order in
 * which they were made. A stream queue whose first write may start is *ready*;
 * while some of its writes are in flight it is not, whatever waits behind them.
 * One that would meet a lock is *set aside* in its turn, until `bringBack`.
 *
 * Tens of thousands of stream queues come and go in a second. A map or set from
 * which so much is deleted is copied again and again, and each copy keeps the
 * next one from being collected, with all that is in it: without the wire, a
 * third of the client's time went there. So what is ready is an array, and empty
 * stream queues stay in the map for a while.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import type { Write } from "./queued_write.ts";

/** A write, and the promise that was given for it. */
export interface Task {
  readonly write: Write;
  /** When it was made, in the time of `performance.now()`. */
  readonly submittedAt: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onAbort: (() => void) | undefined;
  /** A transaction that it was part of has lost its answer. */
  isInDoubt: boolean;
}

interface StreamQueue {
  readonly streamId: StreamId;
  readonly tasks: Task[];
  inFlight: boolean;
  isAside: boolean;
}

/** So many empty stream queues are kept. */
const maxEmpty = 4096;

/** See the file's head. */
export class StreamQueues {
  #queues = new Map<StreamId, StreamQueue>();
  /** Stream queues with a write that waits or is in flight. */
  #inUse = 0;
  /** Longest ready first. */
  readonly #ready: StreamQueue[] = [];
  #aside: StreamQueue[] = [];
  readonly #isLocked: (streamId: StreamId) => boolean;
  #waiting = 0;
  #waitingBytes = 0;

  /** `isLocked`: the stream's writes would meet a lock. */
  constructor(isLocked: (streamId: StreamId) => boolean = () => false) {
    this.#isLocked = isLocked;
  }

  /** How many writes wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The size of their payloads. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many stream queues are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Nothing waits, and nothing is in flight. */
  get isEmpty(): boolean {
    return this.#inUse === 0;
  }

  /** Puts a write behind the others of its stream; whether its stream queue is ready. */
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

  /** Takes out a write that waits. */
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

  /** Writes that were in flight wait again, before all others of their stream. */
  putBack(tasks: readonly Task[]): void {
    this.#queues.get(tasks[0]!.write.streamId)!.tasks.unshift(...tasks);
    for (const { write: { bytes } } of tasks) {
      this.#waiting++;
      this.#waitingBytes += bytes;
    }
  }

  /** What was set aside is ready. */
  bringBack(): void {
    for (const queue of this.#aside) {
      queue.isAside = false;
      this.#ready.push(queue);
    }
    this.#aside = [];
  }

  /**
   * Goes over the ready stream queues. `choose` says how many writes of one start:
   * with 0 it stays where it is, undefined ends the search.
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

  /** Nothing of the stream is in flight any more. */
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
    // One by one each would move all that wait behind it.
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
