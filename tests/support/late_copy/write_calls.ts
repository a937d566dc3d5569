/**
 * Calls of every write operation of `StreamStorage` that fit a stream's content.
 *
 * `WRITE_VARIANTS` must have an entry for each operation, so a new operation does
 * not compile until the harness covers it.
 */
import type { MiniblockDescriptor } from "../../../src/storage/model.ts";
import type { ArgumentsOf, NameOf } from "../../../src/storage/operations.ts";
import {
  bytes,
  hashOf,
  mediaGenesis,
} from "../../../src/testing/contract/support.ts";

/** The methods that write, by name. */
export type WriteOperation = NameOf<"writes">;

/** What is stored of an existing stream. */
export interface Facts {
  isEphemeral: boolean;
  latest: bigint;
  /** Stored block numbers, ascending. */
  numbers: bigint[];
  /** Numbers of the blocks with a snapshot beside them, ascending. */
  snapshots: bigint[];
  /** The minipool's events; undefined without a marker. */
  events: number | undefined;
}

/** A variant of a call of a write operation. */
export interface WriteVariant<Name extends WriteOperation> {
  /** Its name among the operation's variants. */
  name: string;
  /**
   * Whether it is too large for a shared transaction. As a later write, it would
   * do nothing that a small one does not.
   */
  isLarge?: boolean;
  /**
   * The arguments after the stream id, with `tag` in every payload; undefined if
   * no such call can succeed.
   */
  args(facts: Facts | undefined, tag: string): ArgumentsOf<Name> | undefined;
}

type Variants = {
  readonly [Name in WriteOperation]: readonly WriteVariant<Name>[];
};

/** Every variant of every write operation that the harness tries. */
export const WRITE_VARIANTS: Variants = {
  createStreamStorage: [
    { name: "with a snapshot", args: genesis(withSnapshot) },
    { name: "without a snapshot", args: genesis(small) },
    { name: "large", isLarge: true, args: genesis(large) },
  ],
  createEphemeralStreamStorage: [
    { name: "of no chunks", args: genesis(() => mediaGenesis(0).genesis) },
    { name: "of a chunk", args: genesis(() => mediaGenesis(1).genesis) },
    { name: "large", isLarge: true, args: genesis(large) },
  ],
  createStreamArchiveStorage: [{
    name: "",
    args: (facts) => facts === undefined ? [] : undefined,
  }],
  reinitializeStreamStorage: [
    { name: "unknown", args: newStreamFrom(0n, withSnapshot) },
    { name: "unknown, from above", args: newStreamFrom(7n, withSnapshot) },
    {
      name: "unknown, large",
      isLarge: true,
      args: newStreamFrom(0n, largeSnapshot),
    },
    { name: "known", args: extended(1n, withSnapshot) },
    { name: "known, behind a gap", args: extended(4n, withSnapshot) },
    { name: "known, large", isLarge: true, args: extended(1n, largeSnapshot) },
  ],
  deleteStream: [{ name: "", args: (facts) => facts && [] }],
  writeEvent: [
    { name: "", args: event((tag) => bytes(`event ${tag}`)) },
    { name: "large", isLarge: true, args: event(largeBytes) },
  ],
  writeMiniblocks: [
    { name: "with a size", args: swap(small, { sized: true, events: 0 }) },
    { name: "without a size", args: swap(small, { sized: false, events: 0 }) },
    {
      name: "with a snapshot and events",
      args: swap(withSnapshot, { sized: true, events: 2 }),
    },
    {
      name: "large",
      isLarge: true,
      args: swap(largeSnapshot, { sized: true, events: 1 }),
    },
    {
      name: "large, without a size",
      isLarge: true,
      args: swap(large, { sized: false, events: 1 }),
    },
  ],
  writePrecedingMiniblocks: [
    { name: "", args: backfill(small) },
    { name: "with snapshots", args: backfill(withSnapshot) },
    { name: "large", isLarge: true, args: backfill(large) },
  ],
  writeArchiveMiniblocks: [
    { name: "", args: archived(small) },
    { name: "with a snapshot", args: archived(withSnapshot) },
    { name: "large", isLarge: true, args: archived(large) },
  ],
  writeEphemeralMiniblock: [
    { name: "the genesis", args: (facts) => chunk(facts, 0n, genesisChunk) },
    {
      name: "the next",
      args: (facts, tag) => chunk(facts, nextOf(facts), small, tag),
    },
    {
      name: "out of order",
      args: (facts, tag) => chunk(facts, nextOf(facts) + 3n, small, tag),
    },
    {
      name: "large",
      isLarge: true,
      args: (facts, tag) => chunk(facts, nextOf(facts), large, tag),
    },
  ],
  normalizeEphemeralStream: [{
    name: "",
    args: (facts) => facts?.isEphemeral ? [] : undefined,
  }],
  writeMiniblockCandidate: [
    { name: "", args: candidate(small) },
    { name: "with a snapshot", args: candidate(withSnapshot) },
    { name: "large", isLarge: true, args: candidate(large) },
  ],
  trimStream: [
    { name: "to the latest snapshot", args: trimming((facts) => facts.latest) },
    {
      name: "to an older snapshot",
      args: trimming(({ snapshots, numbers }) =>
        snapshots.find((number) => number > numbers[0]!) ?? 0n
      ),
    },
    { name: "by a block", args: trimming(({ numbers }) => numbers[0]! + 1n) },
    {
      name: "of snapshots alone",
      args: (facts) => {
        const older = olderSnapshots(facts);
        return older.length > 0 ? [0n, older] : undefined;
      },
    },
  ],
  debugDeleteMiniblocks: [
    {
      name: "the first",
      args: deleting((numbers) => [numbers[0], numbers[0]]),
    },
    {
      name: "the last",
      args: deleting((numbers) => [numbers.at(-1), numbers.at(-1)]),
    },
    {
      name: "all",
      args: deleting((numbers) => [numbers[0], numbers.at(-1)]),
    },
  ],
};

type BlockMaker = (number: bigint, tag: string) => MiniblockDescriptor;

function small(number: bigint, tag: string): MiniblockDescriptor {
  return { number, data: bytes(`block ${number} ${tag}`) };
}

function withSnapshot(number: bigint, tag: string): MiniblockDescriptor {
  return {
    ...small(number, tag),
    snapshot: bytes(`snapshot ${number} ${tag}`),
  };
}

/** A block that is too large for a shared transaction. */
function large(number: bigint, tag: string): MiniblockDescriptor {
  return { number, data: largeBytes(`${number} ${tag}`) };
}

function largeSnapshot(number: bigint, tag: string): MiniblockDescriptor {
  return {
    ...large(number, tag),
    snapshot: bytes(`snapshot ${number} ${tag}`),
  };
}

function genesisChunk(): MiniblockDescriptor {
  return mediaGenesis(1).genesis;
}

function largeBytes(tag: string): Uint8Array {
  const data = new Uint8Array(66_000).fill(120);
  data.set(bytes(tag));
  return data;
}

function genesis(make: BlockMaker) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): [MiniblockDescriptor] | undefined =>
    facts === undefined ? [make(0n, tag)] : undefined;
}

type Reinitialization = ArgumentsOf<"reinitializeStreamStorage"> | undefined;

function newStreamFrom(first: bigint, make: BlockMaker) {
  return (facts: Facts | undefined, tag: string): Reinitialization =>
    facts === undefined
      ? [[make(first, tag), make(first + 1n, tag)], first + 1n, false]
      : undefined;
}

/** Rebuilds existing streams, with blocks that begin `ahead` of the last one. */
function extended(ahead: bigint, make: BlockMaker) {
  return (facts: Facts | undefined, tag: string): Reinitialization => {
    const last = facts?.numbers.at(-1);
    if (last === undefined) return undefined;
    const first = last + ahead;
    return [[make(first, tag), small(first + 1n, tag)], first, true];
  };
}

function event(make: (tag: string) => Uint8Array) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): ArgumentsOf<"writeEvent"> | undefined =>
    facts?.events === undefined
      ? undefined
      : [nextOf(facts), facts.events, make(tag)];
}

function swap(
  make: BlockMaker,
  { sized, events }: { sized: boolean; events: number },
) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): ArgumentsOf<"writeMiniblocks"> | undefined => {
    if (facts?.events === undefined) return undefined;
    const generation = nextOf(facts);
    const envelopes = Array.from(
      { length: events },
      (_, slot) => bytes(`waiting ${slot} ${tag}`),
    );
    return [
      [make(generation, tag)],
      { generation: generation + 1n, envelopes },
      { generation, ...(sized ? { size: facts.events } : {}) },
    ];
  };
}

/** The blocks below the last one, of which the store adds the missing ones. */
function backfill(make: BlockMaker) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): [MiniblockDescriptor[]] | undefined => {
    const end = facts?.numbers.at(-1);
    // If no block is missing, the call would do nothing.
    if (end === undefined || BigInt(facts!.numbers.length) > end) return;
    const length = Number(end > 12n ? 12n : end);
    const first = end - BigInt(length);
    return [Array.from({ length }, (_, i) => make(first + BigInt(i), tag))];
  };
}

function archived(make: BlockMaker) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): ArgumentsOf<"writeArchiveMiniblocks"> | undefined => {
    if (facts === undefined) return undefined;
    const start = nextOf(facts);
    return [start, [make(start, tag), make(start + 1n, tag)]];
  };
}

function chunk(
  facts: Facts | undefined,
  number: bigint,
  make: BlockMaker,
  tag = "",
): [MiniblockDescriptor] | undefined {
  const isFree = facts === undefined ||
    facts.isEphemeral && !facts.numbers.includes(number);
  return isFree ? [make(number, tag)] : undefined;
}

function candidate(make: BlockMaker) {
  return (
    facts: Facts | undefined,
    tag: string,
  ): [MiniblockDescriptor] | undefined =>
    facts && [{ ...make(nextOf(facts), tag), hash: hashOf(`hash ${tag}`) }];
}

type Trimming = ArgumentsOf<"trimStream"> | undefined;

/** Trims, and clears older snapshots if any are left. */
function trimming(to: (facts: Facts) => bigint) {
  return (facts: Facts | undefined): Trimming => {
    const first = facts?.numbers[0];
    if (first === undefined || to(facts!) <= first) return undefined;
    return [to(facts!), olderSnapshots(facts)];
  };
}

function deleting(
  range: (numbers: bigint[]) => (bigint | undefined)[],
) {
  return (facts: Facts | undefined): [bigint, bigint] | undefined => {
    const [first, last] = range(facts?.numbers ?? []);
    if (first === undefined || last === undefined) return undefined;
    return [first, last + 1n];
  };
}

function olderSnapshots(facts: Facts | undefined): bigint[] {
  return facts?.snapshots.filter((number) => number < facts.latest) ?? [];
}

function nextOf(facts: Facts | undefined): bigint {
  return (facts?.numbers.at(-1) ?? -1n) + 1n;
}
