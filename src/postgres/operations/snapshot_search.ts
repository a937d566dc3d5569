/**
 * Tells which blocks carry a snapshot, as one statement saw them.
 *
 * Whether one stands beside the data the statement says. Whether one is inside
 * says only the data, which is read by later statements the first time and
 * remembered. It is one consistent snapshot all the same: what a block's data
 * holds is true as long as the block is there, before that statement and after
 * it. It is not if the block was removed meanwhile, and maybe another written
 * under its number. Then all is looked at again:
 *
 * - If a block is not found any more, it was removed.
 * - If it is found, but is another one: only the owner of the schema writes. If
 *   that is this process, it marks what is known of the stream as outdated
 *   when a removal is over. It writes the new block after that, so whoever
 *   reads the new block reads the mark too. A reader is not told, so it
 *   remembers nothing from one call to the next, and asks behind the search
 *   whether the rows still are the ones that the first statement saw.
 *
 * (An empty genesis that is repaired meanwhile is told of as repaired.)
 *
 * The first search of a long stream may take longer than a call has. What it has
 * found by then is remembered, so the next call goes on from there.
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
import { streamChanged } from "./stream_state.ts";

/** A stream that is trimmed more often during one call is told of as changing. */
const maxLooks = 10;

/** The blocks of a stream, as one statement saw them. */
export interface SeenRanges {
  /** With the blocks beside which a snapshot stands. */
  ranges: MiniblockRange[];
  /** Every block, if they are in object storage. */
  external?: readonly SeenBlock[];
  /** Whether these very blocks are still there; absent if that is known otherwise. */
  isStill?: (() => Promise<boolean>) | undefined;
}

/** The numbers that `selectWholeRun` tells as bytes, ascending. */
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

/** The runs that the rows of `rangeRows` tell of. */
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

/** The same of blocks in object storage; `seen` is as with `ExternalRead`. */
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
 * What `look` sees, in one statement, and which blocks hold a snapshot inside
 * or beside. It is called again if blocks were removed meanwhile.
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

/** Up to 16 numbers of a range that stand in one group of `SearchedBlocks`. */
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
  /** What this call has found: there may be no room to remember it. */
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

  /** Searches what was not searched before; false: blocks were removed. */
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

  /** Searches the blocks from `from` on that are read at a time. */
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
