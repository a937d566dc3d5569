import { BoundedMap } from "../postgres/bounded_map.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** The number of streams that are remembered. */
const maxCounts = 100_000;
const maxDue = 10_000;

/** A stream that may be due. */
export interface DueStream {
  streamId: StreamId;
  /** All of its snapshots were counted here. */
  isCertain: boolean;
}

/**
 * Streams whose snapshots this process wrote, with the number since each was
 * last trimmed. The tables have that number, too (trimming_state.ts). A count
 * that is unknown here, after a start or because there are too many, is looked
 * up there when the stream's next snapshot is reported. Due streams beyond the
 * bound are found by scanning all streams.
 */
export class DueStreams {
  #counts = new BoundedMap<StreamId, number>(maxCounts);
  readonly #due = new Map<StreamId, DueStream>();
  #hasOverflowed = false;

  get size(): number {
    return this.#due.size;
  }

  /** Counts a snapshot; returns whether the stream may be due, at `every`. */
  snapshotWritten(streamId: StreamId, every: number): boolean {
    const count = this.#counts.get(streamId);
    if (count === undefined && every > 1) {
      return this.add({ streamId, isCertain: false });
    }
    const now = (count ?? 0) + 1;
    this.#counts.set(streamId, now);
    return now >= every && this.add({ streamId, isCertain: true });
  }

  /** Adds a stream to look at; returns false if there are too many. */
  add(due: DueStream): boolean {
    if (this.#due.size >= maxDue && !this.#due.has(due.streamId)) {
      this.#hasOverflowed = true;
      return false;
    }
    this.#due.set(due.streamId, due);
    return true;
  }

  /**
   * Takes streams to look at, oldest report first. A snapshot that comes before
   * a stream's count is set again makes it due for another look.
   */
  take(max: number): DueStream[] {
    const taken = [...this.#due.values()].slice(0, max);
    for (const { streamId } of taken) {
      this.#due.delete(streamId);
      this.#counts.delete(streamId);
    }
    return taken;
  }

  /** Sets the count of a stream, unless it was reported meanwhile. */
  count(streamId: StreamId, count: number): void {
    if (!this.#due.has(streamId)) this.#counts.set(streamId, count);
  }

  /** Called when the stream may be another one: forgets its count. */
  forget(streamId: StreamId): void {
    this.#counts.delete(streamId);
    if (this.#due.has(streamId)) {
      this.#due.set(streamId, { streamId, isCertain: false });
    }
  }

  /** Forgets all counts, but not which streams may be due. */
  forgetAll(): void {
    this.#counts = new BoundedMap(maxCounts);
    for (const streamId of this.#due.keys()) this.forget(streamId);
  }

  /** Whether the bound dropped a stream since the last call. */
  takeOverflow(): boolean {
    const hasOverflowed = this.#hasOverflowed;
    this.#hasOverflowed = false;
    return hasOverflowed;
  }
}
