import type { ResolvedTrimming } from "../postgres/trimming_options.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** The blocks to which single streams are cut, and which of them are done. */
export class TrimmingTargets {
  /** The highest target of each stream. */
  readonly #blocks = new Map<StreamId, bigint>();
  /** Streams whose target a snapshot has reached since their last change. */
  readonly #reached = new Set<StreamId>();
  /** Streams to look at. */
  readonly #due = new Set<StreamId>();

  /** The number of streams with a target. */
  get size(): number {
    return this.#blocks.size;
  }

  /** The streams to look at. */
  get due(): ReadonlySet<StreamId> {
    return this.#due;
  }

  /** The stream's target. */
  get(streamId: StreamId): bigint | undefined {
    return this.#blocks.get(streamId);
  }

  /** Replaces all targets; each new one is due. */
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

  /** Called for a new snapshot; returns whether to look at the stream. */
  snapshotWritten(streamId: StreamId): boolean {
    if (!this.#blocks.has(streamId) || this.#reached.has(streamId)) {
      return false;
    }
    this.#due.add(streamId);
    return true;
  }

  /** Called for a changed stream; returns whether to look at its target. */
  forget(streamId: StreamId): boolean {
    return this.#reached.delete(streamId) && this.snapshotWritten(streamId);
  }

  /** Called before a look; a later snapshot makes the stream due again. */
  take(streamId: StreamId): void {
    this.#due.delete(streamId);
  }

  /** Called when the look has failed. */
  putBack(streamId: StreamId): void {
    if (this.#blocks.has(streamId)) this.#due.add(streamId);
  }

  /** The stream was cut, and has a snapshot at or above its target. */
  reached(streamId: StreamId): void {
    this.#reached.add(streamId);
  }
}
