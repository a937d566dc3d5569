import { BoundedMap } from "../postgres/bounded_map.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** How much is remembered. */
const maxCounts = 100_000;
const maxDue = 10_000;

/** A stream that may be due. */
export interface DueStream {
  streamId: StreamId;
  /** Its snapshots were counted here, all of them. */
  isCertain: boolean;
}

/**
 * The streams whose snapshots were written by this process, and how many of
 * them since each was trimmed. The tables know it too (trimming_state.ts): a
 * count that is not known here, after a start or because there are too many,
 * is looked up there when the stream is told again. What is due beyond the
 * bound is found by going through all streams.
 */
export class DueStreams {
  #counts = new BoundedMap<StreamId, number>(maxCounts);
  readonly #due = new Map<StreamId, DueStream>();
  #hasOverflowed = false;

  get size(): number {
    return this.#due.size;
  }

  /** A snapshot was written; whether the stream may be due, of every `every`. */
  snapshotWritten(streamId: StreamId, every: number): boolean {
    const count = this.#counts.get(streamId);
    if (count === undefined && every > 1) {
      return this.add({ streamId, isCertain: false });
    }
    const now = (count ?? 0) + 1;
    this.#counts.set(streamId, now);
    return now >= every && this.add({ streamId, isCertain: true });
  }

  /** The stream is to be looked at; false when there are too many. */
  add(due: DueStream): boolean {
    if (this.#due.size >= maxDue && !this.#due.has(due.streamId)) {
      this.#hasOverflowed = true;
      return false;
    }
    this.#due.set(due.streamId, due);
    return true;
  }

  /**
   * The streams to look at, those told first. Until their counts are set again
   * a stream that is told is to be looked at once more.
   */
  take(max: number): DueStream[] {
    const taken = [...this.#due.values()].slice(0, max);
    for (const { streamId } of taken) {
      this.#due.delete(streamId);
      this.#counts.delete(streamId);
    }
    return taken;
  }

  /** So many snapshots since it was trimmed, unless it was told meanwhile. */
  count(streamId: StreamId, count: number): void {
    if (!this.#due.has(streamId)) this.#counts.set(streamId, count);
  }

  /** The stream may be another one: its snapshots are to be counted anew. */
  forget(streamId: StreamId): void {
    this.#counts.delete(streamId);
    if (this.#due.has(streamId)) {
      this.#due.set(streamId, { streamId, isCertain: false });
    }
  }

  /** No count is reliable any more; what may be due is still looked at. */
  forgetAll(): void {
    this.#counts = new BoundedMap(maxCounts);
    for (const streamId of this.#due.keys()) this.forget(streamId);
  }

  /** Whether a stream was not remembered since this was asked last. */
  takeOverflow(): boolean {
    const hasOverflowed = this.#hasOverflowed;
    this.#hasOverflowed = false;
    return hasOverflowed;
  }
}
