import type { ResolvedTrimming } from "../postgres/trimming_options.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** The blocks at which single streams are to be cut, and how far that has come. */
export class TrimmingTargets {
  /** The highest target of each stream. */
  readonly #blocks = new Map<StreamId, bigint>();
  /** Those that a snapshot has reached, since the stream was changed last. */
  readonly #reached = new Set<StreamId>();
  /** Those that are to be looked at. */
  readonly #due = new Set<StreamId>();

  /** The number of streams with a target. */
  get size(): number {
    return this.#blocks.size;
  }

  /** The streams that are to be looked at. */
  get due(): ReadonlySet<StreamId> {
    return this.#due;
  }

  /** The stream's target. */
  get(streamId: StreamId): bigint | undefined {
    return this.#blocks.get(streamId);
  }

  /** These instead of all others; each is due. */
  replace(targets: ResolvedTrimming["targets"]): void {
    this.#blocks.clear();
    this.#reached.clear();
    this.#due.clear();
    for (const { streamId, miniblock } of targets) {
      const other = this.#blocks.get(streamId) ?? -1n;
      this.#blocks.set(streamId, miniblock > other ? miniblock : other);
      this.#due.add(streamId);
    }
  }

  /** A snapshot was written; whether the stream is to be looked at for it. */
  snapshotWritten(streamId: StreamId): boolean {
    if (!this.#blocks.has(streamId) || this.#reached.has(streamId)) {
      return false;
    }
    this.#due.add(streamId);
    return true;
  }

  /** The stream was changed; whether it is to be looked at for its target. */
  forget(streamId: StreamId): boolean {
    return this.#reached.delete(streamId) && this.snapshotWritten(streamId);
  }

  /** It is about to be looked at: told meanwhile, it is so once more. */
  take(streamId: StreamId): void {
    this.#due.delete(streamId);
  }

  /** The look has failed. */
  putBack(streamId: StreamId): void {
    if (this.#blocks.has(streamId)) this.#due.add(streamId);
  }

  /** The stream has a snapshot at its target, or above, and was cut. */
  reached(streamId: StreamId): void {
    this.#reached.add(streamId);
  }
}
