import type { StreamId } from "../storage/stream_id.ts";

/**
 * Remembers which blocks hold a snapshot inside their data: finding out means
 * reading the whole block, and blocks never change. Bounded; the streams that
 * were asked for least lately are forgotten first.
 */
export class LegacySnapshots {
  readonly #streams = new Map<StreamId, Map<bigint, boolean>>();
  readonly #maxBlocks: number;
  #blocks = 0;

  constructor(maxBlocks = 1_000_000) {
    this.#maxBlocks = maxBlocks;
  }

  /** Whether the block holds one; undefined when that is not known. */
  holds(streamId: StreamId, number: bigint): boolean | undefined {
    return this.#streams.get(streamId)?.get(number);
  }

  /** Remembers what was found in a block's data. */
  learn(streamId: StreamId, number: bigint, holds: boolean): void {
    const blocks = this.#streams.get(streamId) ?? new Map<bigint, boolean>();
    if (!blocks.has(number)) this.#blocks++;
    blocks.set(number, holds);
    this.#streams.delete(streamId);
    this.#streams.set(streamId, blocks);
    for (const oldest of this.#streams.keys()) {
      if (this.#blocks <= this.#maxBlocks) return;
      this.forget(oldest);
    }
  }

  /** A stream that is gone may come back with other blocks. */
  forget(streamId: StreamId): void {
    this.#blocks -= this.#streams.get(streamId)?.size ?? 0;
    this.#streams.delete(streamId);
  }
}
