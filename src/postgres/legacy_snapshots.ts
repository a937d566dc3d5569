import type { StreamId } from "../storage/stream_id.ts";

/**
 * Remembers which blocks hold a snapshot inside their data. Finding out means
 * reading the whole block, and a block never changes while it exists.
 *
 * The bound counts groups of 16 numbers with an entry, of about 70 bytes each:
 * at most 14 MB, for more than 3 million consecutive blocks. The streams asked
 * for longest ago are forgotten first, streams being asked for never. If there
 * is no room, a result is not remembered.
 */
export class LegacySnapshots {
  readonly #streams = new Map<StreamId, SearchedBlocks>();
  readonly #maxGroups: number;
  /** A stream counts as one group, which bounds streams without blocks. */
  #groups = 0;

  constructor(maxGroups = 200_000) {
    this.#maxGroups = maxGroups;
  }

  /**
   * What is known of the stream's blocks; `close` gives it back. To be called
   * before the blocks are read, because from then on `outdated` shows whether
   * blocks have been removed.
   */
  open(streamId: StreamId): SearchedBlocks {
    let blocks = this.#streams.get(streamId);
    if (blocks === undefined) {
      blocks = new SearchedBlocks();
      this.#groups++;
    } else this.#streams.delete(streamId);
    this.#streams.set(streamId, blocks);
    blocks.readers++;
    return blocks;
  }

  /** Gives back what `open` has returned. */
  close(streamId: StreamId, blocks: SearchedBlocks): void {
    blocks.readers--;
    if (blocks.size === 0 && blocks.readers === 0 && !blocks.outdated) {
      this.#drop(streamId, blocks);
    }
  }

  /** Remembers what a block's data holds, if there is room. */
  learn(blocks: SearchedBlocks, number: bigint, holds: boolean): void {
    if (blocks.outdated || !this.#makeRoom()) return;
    const before = blocks.size;
    blocks.set(number, holds);
    this.#groups += blocks.size - before;
  }

  /**
   * Forgets blocks, which may come back with other data once they are removed.
   * To be called even if it is not known whether they were; `below` limits it
   * to lower numbers.
   */
  forget(streamId: StreamId, below?: bigint): void {
    const blocks = this.#streams.get(streamId);
    if (blocks === undefined) return;
    this.#drop(streamId, blocks);
    blocks.outdated = true;
    const kept = below === undefined ? undefined : blocks.from(below);
    if (kept === undefined || kept.size === 0) return;
    this.#streams.set(streamId, kept);
    this.#groups += 1 + kept.size;
  }

  /** Forgets everything, because all the data may be other data now. */
  forgetAll(): void {
    for (const blocks of this.#streams.values()) blocks.outdated = true;
    this.#streams.clear();
    this.#groups = 0;
  }

  #drop(streamId: StreamId, blocks: SearchedBlocks): void {
    this.#streams.delete(streamId);
    this.#groups -= 1 + blocks.size;
  }

  /** Makes room for one more group; false if there is none. */
  #makeRoom(): boolean {
    if (this.#groups < this.#maxGroups) return true;
    for (const [streamId, blocks] of this.#streams) {
      if (blocks.readers > 0) continue;
      this.#drop(streamId, blocks);
      return this.#groups < this.#maxGroups;
    }
    return false;
  }
}

/** The blocks of one stream whose data was searched. */
export class SearchedBlocks {
  /** Blocks were removed since, so what is known may not be true any more. */
  outdated = false;
  /** How many calls are reading the stream. */
  readers = 0;
  /** The groups by their number, a sixteenth of the block's; see `bitsOf`. */
  readonly #groups = new Map<bigint, number>();

  /** The number of groups. */
  get size(): number {
    return this.#groups.size;
  }

  /** Whether the block holds a snapshot; undefined if it was not searched. */
  get(number: bigint): boolean | undefined {
    const bits = this.bitsOf(number >> 4n) >> Number(number & 15n);
    return (bits & 1) === 0 ? undefined : (bits & 0x10000) !== 0;
  }

  /**
   * What is known of the 16 numbers from `16 * group` on: bit n says that the
   * nth was searched, bit 16 + n that it holds a snapshot.
   */
  bitsOf(group: bigint): number {
    return this.#groups.get(group) ?? 0;
  }

  /** Remembers that the block was searched. */
  set(number: bigint, holds: boolean): void {
    const bit = 1 << Number(number & 15n);
    const bits = this.bitsOf(number >> 4n);
    this.#groups.set(number >> 4n, bits | bit | (holds ? bit << 16 : 0));
  }

  /** A copy without the blocks below this number. */
  from(below: bigint): SearchedBlocks {
    const kept = new SearchedBlocks();
    const first = below >> 4n;
    const half = 0xffff & (0xffff << Number(below & 15n));
    for (const [group, bits] of this.#groups) {
      const left = group === first ? bits & (half | (half << 16)) : bits;
      if (group >= first && left !== 0) kept.#groups.set(group, left);
    }
    return kept;
  }
}
