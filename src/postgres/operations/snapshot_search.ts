/**
 * Finds which blocks carry a snapshot, as one statement saw them.
 *
 * A statement shows whether a snapshot stands beside a block's data. Only the
 * data shows whether a snapshot is inside; later statements read it the first
 * time, and the result is remembered. The result is still consistent: what a
 * block's data holds stays true as long as the block is there, before and after
 * the first statement. It is not true of another block that was written under
 * the same number meanwhile. So the search begins again in these cases:
 *
 * - A block is not found any more, because it was removed.
 * - A block is found, but is another one. Only the owner of the schema writes.
 *   If the owner is this process, it marks what it remembers of the stream as
 *   outdated when a removal ends, and writes the new block after that. So a
 *   call that reads the new block also reads the mark. A reader receives no
 *   mark, so it remembers nothing from one call to the next, and asks after the
 *   search whether the rows are still those that the first statement saw.
 *
 * (An empty genesis that is repaired meanwhile is reported as repaired.)
 *
 * The first search of a long stream may take longer than a call has. What it
 * has found by its deadline is remembered, so the next call continues from
 * there.
 */

import { Slices } from "../../database/slices.ts";
import { bind } from "../../database/statement.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { rangesOf } from "../../storage/rules.ts";
import { SearchedBlocks } from "../legacy_snapshots.ts";
import { rangeBits, selectUnsearched } from "../sql/reading.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";
import {
  isOther,
  moved,
  readExternalNumbers,
  type SeenBlock,
  wasMoved,
} from "./external_blocks.ts";
import { findPage, pageBytes } from "./read_miniblocks.ts";
import { streamChanged } from "../stream_changed.ts";

/** If a stream is trimmed more often during a call, it counts as changing. */
const maxLooks = 10;

/** The blocks of a stream, as one statement saw them. */
export interface SeenRanges {
  /** The runs, with the blocks beside which a snapshot stands. */
  ranges: MiniblockRange[];
  /** Every block, if the blocks are in object storage. */
  external?: readonly SeenBlock[];
  /** Whether these blocks are still there; absent if that is known anyway. */
  isStill?: (() => Promise<boolean>) | undefined;
}

/** The numbers that `selectWholeRun` returns as bytes, ascending. */
export async function numbersOf(bytes: Uint8Array): Promise<bigint[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const slices = new Slices();
  const numbers: bigint[] = [];
  let isSorted = true;
  for (let at = 0; at < bytes.length; at += 8) {
    if (slices.isOver) await slices.next();
    const number = view.getBigInt64(at);
    isSorted &&= numbers.length === 0 || numbers.at(-1)! < number;
    numbers.push(number);
  }
  return isSorted ? numbers : [...BigInt64Array.from(numbers).sort()];
}

/** The runs that the rows of `rangeRows` describe. */
export async function rangesOfRows(
  rows: readonly (readonly [number: bigint, bits: bigint, ...unknown[]])[],
): Promise<MiniblockRange[]> {
  const ranges: MiniblockRange[] = [];
  const slices = new Slices();
  for (const [number, bits] of rows) {
    if (slices.isOver) await slices.next();
    if ((bits & rangeBits.begins) !== 0n) {
      ranges.push({
        startInclusive: number,
        endInclusive: number,
        snapshotSeqNums: [],
      });
    }
    const range = ranges.at(-1)!;
    range.endInclusive = number;
    if ((bits & rangeBits.hasSnapshot) !== 0n) {
      range.snapshotSeqNums.push(number);
    }
  }
  return ranges;
}

/**
 * The runs of blocks in object storage. `seen` is the version of the stream's
 * row, as an earlier statement has seen it.
 */
export async function seeExternal(
  store: ReadStore,
  call: StreamCall,
  seen?: bigint,
): Promise<SeenRanges | typeof moved> {
  const found = await readExternalNumbers(store, call);
  if (found === moved || isOther(found, seen)) return moved;
  const { blocks, version } = found;
  const ranges = rangesOf(
    blocks.map(({ number, hasOwn }) => ({ number, hasSnapshot: hasOwn })),
  );
  const isStill = async () => !await wasMoved(store, call, { version });
  return { ranges, external: blocks, isStill };
}

/**
 * What `look` sees in one statement, and which blocks hold a snapshot inside or
 * beside. Calls `look` again if blocks were removed meanwhile.
 */
export async function rangesWithSnapshots<T extends SeenRanges>(
  store: ReadStore,
  call: StreamCall,
  look: () => Promise<T>,
): Promise<T> {
  const { streamId } = call;
  const legacySnapshots = store.cache?.legacySnapshots;
  for (let looks = 0; looks < maxLooks; looks++) {
    const known = legacySnapshots?.open(streamId) ?? new SearchedBlocks();
    try {
      const seen = await look();
      const search = new Search(store, call, known, seen);
      if (!await search.run()) continue;
      return { ...seen, ranges: await search.ranges() };
    } finally {
      legacySnapshots?.close(streamId, known);
    }
  }
  throw streamChanged(streamId);
}

/** Up to 16 numbers of a range that share a group of `SearchedBlocks`. */
interface Group {
  range: MiniblockRange;
  index: bigint;
  /** Bit n: the nth number belongs to the range. */
  inside: number;
  /** Bit n: a snapshot stands beside that block. */
  beside: number;
}

/** The search of one call. */
class Search {
  readonly #store: ReadStore;
  readonly #call: StreamCall;
  readonly #known: SearchedBlocks;
  readonly #seen: SeenRanges;
  /** What this call has found; `#known` may have no room for it. */
  readonly #found = new SearchedBlocks();
  readonly #slices = new Slices();

  constructor(
    store: ReadStore,
    call: StreamCall,
    known: SearchedBlocks,
    seen: SeenRanges,
  ) {
    this.#store = store;
    this.#call = call;
    this.#known = known;
    this.#seen = seen;
  }

  /** Searches the blocks not searched before; false if blocks were removed. */
  async run(): Promise<boolean> {
    let hasRead = false;
    for (const { number, holds } of this.#seen.external ?? []) {
      if (holds !== undefined) this.#found.set(number, holds);
    }
    for (const group of groupsOf(this.#seen.ranges)) {
      if (this.#slices.isOver) await this.#slices.next();
      for (;;) {
        const { index, inside, beside, range } = group;
        const left = inside & ~beside & ~this.#bitsOf(index);
        if (left === 0) break;
        const from = (index << 4n) + BigInt(31 - Math.clz32(left & -left));
        if (!await this.#searchPage(from, range.endInclusive)) return false;
        hasRead = true;
      }
    }
    const { isStill } = this.#seen;
    return !hasRead || isStill === undefined || await isStill();
  }

  /** The runs, with all blocks that carry a snapshot. */
  async ranges(): Promise<MiniblockRange[]> {
    const ranges = this.#seen.ranges.map((range) => ({
      ...range,
      snapshotSeqNums: [] as bigint[],
    }));
    let at = -1;
    let last: MiniblockRange | undefined;
    for (
      const { range, index, inside, beside } of groupsOf(this.#seen.ranges)
    ) {
      if (this.#slices.isOver) await this.#slices.next();
      if (range !== last) at++;
      last = range;
      const carrying = beside | (inside & (this.#bitsOf(index) >>> 16));
      for (let bits = carrying; bits !== 0; bits &= bits - 1) {
        const nth = 31 - Math.clz32(bits & -bits);
        ranges[at]!.snapshotSeqNums.push((index << 4n) + BigInt(nth));
      }
    }
    return ranges;
  }

  #bitsOf(group: bigint): number {
    return this.#known.bitsOf(group) | this.#found.bitsOf(group);
  }

  /** Searches as many blocks from `from` on as are read at a time. */
  async #searchPage(from: bigint, last: bigint): Promise<boolean> {
    const page = this.#seen.external === undefined
      ? await this.#readPage(from, last)
      : await this.#readExternalPage(from, last);
    let isFirst = true;
    const legacySnapshots = this.#store.cache?.legacySnapshots;
    for (const { number, data } of page) {
      if (isFirst && (this.#known.outdated || number !== from)) return false;
      isFirst = false;
      if (this.#slices.isOver) await this.#slices.next();
      const holds = hasLegacySnapshot(data);
      legacySnapshots?.learn(this.#known, number, holds);
      this.#found.set(number, holds);
    }
    return !isFirst;
  }

  async #readPage(from: bigint, last: bigint): Promise<Iterable<BlockData>> {
    const { catalog, transactions } = this.#store;
    const { streamId } = this.#call;
    const [{ rows: [page] }] = await transactions.read(contextOf(this.#call), [
      bind(
        catalog.of(streamId, selectUnsearched),
        streamId,
        from,
        last,
        pageBytes,
      ),
    ]);
    return blocksOf(...page!);
  }

  async #readExternalPage(
    from: bigint,
    last: bigint,
  ): Promise<Iterable<BlockData>> {
    const range = { from, last, omitSnapshot: true };
    const page = await findPage(this.#store, this.#call, range);
    return page?.blocks ?? [];
  }
}

interface BlockData {
  number: bigint;
  data: Uint8Array;
}

function* blocksOf(
  numbers: readonly bigint[],
  sizes: readonly bigint[],
  bytes: Uint8Array,
): Generator<BlockData> {
  let at = 0;
  for (const [i, number] of numbers.entries()) {
    const end = at + Number(sizes[i]);
    yield { number, data: bytes.subarray(at, end) };
    at = end;
  }
}

/** All groups of the ranges, ascending. */
function* groupsOf(ranges: readonly MiniblockRange[]): Generator<Group> {
  for (const range of ranges) {
    const { startInclusive, endInclusive, snapshotSeqNums } = range;
    let at = 0;
    const end = endInclusive >> 4n;
    for (let index = startInclusive >> 4n; index <= end; index++) {
      let inside = 0xffff;
      if (index === startInclusive >> 4n) {
        inside &= 0xffff << Number(startInclusive & 15n);
      }
      if (index === end) inside &= 0xffff >> (15 - Number(endInclusive & 15n));
      let beside = 0;
      for (; at < snapshotSeqNums.length; at++) {
        const number = snapshotSeqNums[at]!;
        if (number >> 4n !== index) break;
        beside |= 1 << Number(number & 15n);
      }
      yield { range, index, inside, beside };
    }
  }
}
