import type { StreamId } from "../storage/stream_id.ts";

/**
 * Remembers which blocks hold a snapshot inside their data: finding out means
 * reading the whole block, and a block never changes while it is there.
 *
 * Bounded by the groups of 16 numbers that it has an entry for, about 70 bytes
 * each: at most 14 MB, for more than 3 million blocks where they are numbered
 * in a row. The streams that were asked for least lately are forgotten first,
 * those that are being asked for not at all; what finds no room is not
 * remembered.
 */
export class LegacySnapshots {
  readonly #streams = new Map<StreamId, SearchedBlocks>();
  readonly #maxGroups: number;
  /** A stream counts as one, so that those without blocks are bounded too. */
  #groups = 0;

  constructor(maxGroups = 200_000) {
    this.#maxGroups = maxGroups;
  }

  /**
   * What is known of the stream's blocks, to be given back with `close`. To be
   * asked for before the blocks are read: it then tells if any have been
   * removed since.
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

  /** Ends what `open` has begun. */
  close(streamId: StreamId, blocks: SearchedBlocks): void {
    blocks.readers--;
    if (blocks.size === 0 && blocks.readers === 0 && !blocks.outdated) {
      this.#drop(streamId, blocks);
    }
  }

  /** Remembers what was found in a block's data, if there is room. */
  learn(blocks: SearchedBlocks, number: bigint, holds: boolean): void {
    if (blocks.outdated || !this.#makeRoom()) return;
    const before = blocks.size;
    blocks.set(number, holds);
    this.#groups += blocks.size - before;
  }

  /**
   * Blocks that were removed may come back with other data. To be called even
   * if it is not known whether they were; with `below` only for those numbers.
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

  /** Everything may be other data than what was searched. */
  forgetAll(): void {
    for (const blocks of this.#streams.values()) blocks.outdated = true;
    this.#streams.clear();
    this.#groups = 0;
  }

  #drop(streamId: StreamId, blocks: SearchedBlocks): void {
    this.#streams.delete(streamId);
    this.#groups -= 1 + blocks.size;
  }

  /** Whether there is room for one more group. */
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
  /** Blocks were removed since: what is known may no longer be true. */
  outdated = false;
  /** How many read the stream just now. */
  readers = 0;
  /** By a sixteenth of the number; see `bitsOf`. */
  readonly #groups = new Map<bigint, number>();

  /** How many groups there are. */
  get size(): number {
    return this.#groups.size;
  }

  /** Whether the block holds a snapshot; undefined if it was not searched. */
  get(number: bigint): boolean | undefined {
    const bits = this.bitsOf(number >> 4n) >> Number(number & 15n);
    return (bits & 1) === 0 ? undefined : (bits & 0x10000) !== 0;
  }

  /**
   * What is known of the 16 numbers from `16 * group` on: bit n that the nth
   * was searched, bit 16 + n that it holds a snapshot.
   */
  bitsOf(group: bigint): number {
    return this.#groups.get(group) ?? 0;
  }

  /** The block was searched. */
  set(number: bigint, holds: boolean): void {
    const bit = 1 << Number(number & 15n);
    const bits = this.bitsOf(number >> 4n);
    this.#groups.set(number >> 4n, bits | bit | (holds ? bit << 16 : 0));
  }

  /** A copy without the blocks below. */
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
