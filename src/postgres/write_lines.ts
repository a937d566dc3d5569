/**
 * The writes that wait, in lines: one for each stream, in the order in which
 * they were made. A line whose first write may start is *ready*; while some of
 * its writes are under way it is not, whatever waits behind them.
 *
 * Tens of thousands of lines come and go in a second. A map or set from which
 * so much is deleted is copied again and again, and each copy keeps the next one
 * from being collected, with all that is in it: without the wire a third of the
 * client's time went there. Hence an array for what is ready, and lines that
 * stay in the map for a while when nothing is in them.
 */

import type { StreamId } from "../storage/stream_id.ts";
import type { Write } from "./queued_write.ts";

/** A write, and the promise that was given for it. */
export interface Task {
  readonly write: Write;
  /** When it was made, in the time of `performance.now()`. */
  readonly since: number;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  onAbort: (() => void) | undefined;
}

interface Line {
  readonly streamId: StreamId;
  readonly tasks: Task[];
  underWay: boolean;
}

/** So many empty lines are kept. */
const maxEmpty = 4096;

/** See the file's head. */
export class WriteLines {
  #lines = new Map<StreamId, Line>();
  /** Lines in which something waits or is under way. */
  #inUse = 0;
  /** Longest ready first. */
  readonly #ready: Line[] = [];
  #waiting = 0;
  #waitingBytes = 0;

  /** How many writes wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The size of their payloads. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** How many lines are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Nothing waits, and nothing is under way. */
  get isEmpty(): boolean {
    return this.#inUse === 0;
  }

  /** Puts a write behind the others of its stream; whether the line is ready. */
  add(task: Task): boolean {
    const { streamId, bytes } = task.write;
    let line = this.#lines.get(streamId);
    if (line === undefined) {
      line = { streamId, tasks: [], underWay: false };
      this.#lines.set(streamId, line);
    }
    this.#waiting++;
    this.#waitingBytes += bytes;
    line.tasks.push(task);
    if (line.underWay) return false;
    if (line.tasks.length === 1) {
      this.#inUse++;
      this.#ready.push(line);
    }
    return true;
  }

  /** Takes out a write that waits. */
  remove(task: Task): void {
    const line = this.#lines.get(task.write.streamId)!;
    line.tasks.splice(line.tasks.indexOf(task), 1);
    this.#left(task);
    if (line.tasks.length > 0 || line.underWay) return;
    this.#ready.splice(this.#ready.indexOf(line), 1);
    this.#emptied();
  }

  /**
   * Goes over the ready lines. `choose` says how many of a line's writes go under
   * way: with 0 the line stays where it is, undefined ends it.
   */
  take(choose: (tasks: readonly Task[]) => number | undefined): Task[] {
    const taken: Task[] = [];
    const ready = this.#ready;
    let kept = 0;
    let at = 0;
    for (; at < ready.length; at++) {
      const line = ready[at]!;
      const count = choose(line.tasks);
      if (count === undefined) break;
      if (count === 0) ready[kept++] = line;
      else this.#start(line, count, taken);
    }
    ready.splice(kept, at - kept);
    return taken;
  }

  /** Nothing of the stream is under way any more. */
  release(streamId: StreamId): void {
    const line = this.#lines.get(streamId)!;
    line.underWay = false;
    if (line.tasks.length > 0) this.#ready.push(line);
    else this.#emptied();
  }

  /** All writes that wait. */
  all(): Task[] {
    return [...this.#lines.values()].flatMap(({ tasks }) => tasks);
  }

  #start(line: Line, count: number, taken: Task[]): void {
    line.underWay = true;
    for (let i = 0; i < count; i++) {
      const task = line.tasks.shift()!;
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
    if (this.#lines.size - this.#inUse <= maxEmpty) return;
    const inUse = [...this.#lines].filter(([, { tasks, underWay }]) =>
      tasks.length > 0 || underWay
    );
    this.#lines = new Map(inUse);
  }
}
