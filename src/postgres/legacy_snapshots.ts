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

  /**
   * What is known of the stream's blocks. To be asked for before the blocks
   * are read: {@linkcode learn} then knows if they have been removed since.
   */
  of(streamId: StreamId): ReadonlyMap<bigint, boolean> {
    const blocks = this.#streams.get(streamId) ?? new Map<bigint, boolean>();
    if (!this.#streams.delete(streamId)) this.#blocks++;
    this.#streams.set(streamId, blocks);
    this.#shrink();
    return blocks;
  }

  /** Remembers what was found in a block's data. */
  learn(
    streamId: StreamId,
    known: ReadonlyMap<bigint, boolean>,
    number: bigint,
    holds: boolean,
  ): void {
    const blocks = this.#streams.get(streamId);
    if (blocks === undefined || blocks !== known) return;
    if (!blocks.has(number)) this.#blocks++;
    blocks.set(number, holds);
    this.#shrink();
  }

  /**
   * Blocks that were removed may come back with other data. To be called even
   * if it is not known whether they were; with `below` only for those numbers.
   */
  forget(streamId: StreamId, below?: bigint): void {
    const blocks = this.#streams.get(streamId);
    if (blocks === undefined) return;
    this.#blocks -= blocks.size + 1;
    this.#streams.delete(streamId);
    if (below === undefined) return;
    const kept = [...blocks].filter(([number]) => number >= below);
    this.#blocks += kept.length + 1;
    this.#streams.set(streamId, new Map(kept));
  }

  /** A stream without any block counts as one. */
  #shrink(): void {
    for (const oldest of this.#streams.keys()) {
      if (this.#blocks <= this.#maxBlocks) return;
      this.forget(oldest);
    }
  }
}
