/**
 * Makes up a call of each operation from rolls and from what is stored: mostly
 * one that succeeds, else one that almost does.
 */
import { hashOf, MAX_NUMBER } from "../../../src/testing/contract/support.ts";
import {
  type NameOf,
  operationNames,
  operations,
} from "../../../src/storage/operations.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";
import type { Dice } from "./dice.ts";

/** What is stored of a stream; an unknown one has nothing. */
export interface StreamFacts {
  isKnown: boolean;
  isEphemeral: boolean;
  latest: bigint;
  /** Stored block numbers, ascending. */
  numbers: bigint[];
  /** Numbers of the blocks with a snapshot beside them. */
  snapshots: bigint[];
  /** Events in the minipool. */
  events: number;
  /** The slot after the last event. */
  nextSlot: number;
  candidates: { number: bigint; hash: Uint8Array }[];
}

/** Operations on all streams, by name. */
export type ListOperation = NameOf<"lists">;
/** Operations that read one stream, by name. */
export type ReadOperation = NameOf<"reads">;
/** Operations that write to one stream, by name. */
export type WriteOperation = NameOf<"writes">;

/** Makes the arguments after the stream id. */
export type ArgumentMaker = (dice: Dice, facts: StreamFacts) => unknown[];

/** The operations that write to one stream. */
export const WRITES = {
  createStreamStorage: (dice) => [dice.block(0n)],
  createEphemeralStreamStorage: (dice) => [dice.mediaGenesis()],
  createStreamArchiveStorage: () => [],
  reinitializeStreamStorage: (dice, facts) => {
    const updateExisting = !dice.rarely(5);
    const last = lastOf(facts);
    const first = dice.pick(
      last + 1n,
      atLeast0(last),
      atLeast0(last - 2n),
      0n,
      last + 5n,
      facts.numbers[0] ?? 100n,
    );
    const reach = last + 1n - first;
    const length = Number(reach < 0n ? 0n : reach > 9n ? 9n : reach) +
      dice.mostly(1 + dice.upTo(3), 0);
    const blocks = dice.blocks(first, length);
    const index = dice.upTo(Math.max(length - 1, 0));
    const number = first + BigInt(index);
    if (length > 0 && !dice.rarely(5)) {
      blocks[index] = dice.mostly(
        dice.snapshotBlock(number),
        dice.legacyBlock(number),
      );
    }
    return [blocks, dice.mostly(number, first, number + 1n), updateExisting];
  },
  deleteStream: () => [],
  writeEvent: (dice, facts) => [
    near(dice, lastOf(facts) + 1n),
    dice.mostly(facts.nextSlot, nearCount(dice, facts.events), 0, 1),
    dice.payload("event"),
  ],
  writeMiniblocks: (dice, facts) => {
    const first = near(dice, lastOf(facts) + 1n);
    const count = dice.mostly(1, 2, 3, 5, 0);
    const end = first + BigInt(count);
    const envelopes = Array.from(
      { length: dice.upTo(3) },
      () => dice.payload("event"),
    );
    const size = dice.pick(undefined, nearCount(dice, facts.events));
    return [
      dice.blocks(first, count),
      { generation: dice.rarely(20) ? near(dice, end) : end, envelopes },
      {
        generation: dice.rarely(20) ? near(dice, first) : first,
        ...(size === undefined ? {} : { size }),
      },
    ];
  },
  writePrecedingMiniblocks: (dice, facts) => {
    const end = dice.mostly(
      facts.numbers[0] ?? 5n,
      lastOf(facts),
      lastOf(facts) + 1n,
      MAX_NUMBER + 1n,
    );
    const count = 1 + dice.upTo(3);
    return [dice.blocks(atLeast0(end - BigInt(count)), count)];
  },
  writeArchiveMiniblocks: (dice, facts) => [
    near(dice, lastOf(facts) + 1n),
    dice.blocks(dice.pick(0n, 7n), dice.pick(1, 2, 5, 0)),
  ],
  writeEphemeralMiniblock: (dice, facts) => {
    const number = dice.mostly(
      firstMissing(facts),
      lastOf(facts) + 2n,
      0n,
      3n,
      MAX_NUMBER,
    );
    return [number === 0n ? dice.mediaGenesis() : dice.block(number)];
  },
  normalizeEphemeralStream: () => [],
  writeMiniblockCandidate: (dice, facts) => {
    const number = near(dice, lastOf(facts) + 1n);
    return [{ ...dice.block(number), hash: someHash(dice) }];
  },
  trimStream: (dice, facts) => [
    dice.mostly(
      facts.latest,
      atLeast0(facts.latest - 1n),
      facts.latest + 1n,
      0n,
      MAX_NUMBER,
    ),
    dice.mostly<bigint[]>(
      facts.snapshots.filter((number) => number !== facts.latest),
      [...facts.numbers, 77n].filter((number) => number !== facts.latest),
      facts.snapshots,
      [],
    ),
  ],
  debugDeleteMiniblocks: (dice, facts) =>
    dice.pick(
      [lastOf(facts) + 1n, MAX_NUMBER],
      [atLeast0(lastOf(facts)), MAX_NUMBER],
      [1n, 2n],
      [0n, MAX_NUMBER],
      [2n, 1n],
    ),
} satisfies Record<WriteOperation, ArgumentMaker>;

/** Reads of one stream with arguments; the others are made from their samples. */
const READS_WITH_ARGUMENTS: Partial<Record<ReadOperation, ArgumentMaker>> = {
  readMiniblockCandidate: (dice, facts) => {
    const stored = facts.candidates[dice.upTo(facts.candidates.length - 1)];
    return stored === undefined || dice.rarely(4)
      ? [someHash(dice), near(dice, lastOf(facts) + 1n)]
      : [stored.hash, stored.number];
  },
  getMiniblockCandidateCount: (dice, facts) => [
    near(dice, lastOf(facts) + 1n),
  ],
  readStreamFromLastSnapshot: (dice) => [
    dice.pick(0, 1, 3, 1000, Number.MAX_SAFE_INTEGER),
  ],
  readMiniblocks: range,
  streamMiniblocks: range,
};

/** The operations that read one stream, as argument makers. */
export const READS = {
  ...Object.fromEntries(
    operationNames("reads").map((name) => [
      name,
      () => operations[name].sample(new Uint8Array()),
    ]),
  ),
  ...READS_WITH_ARGUMENTS,
} as Record<ReadOperation, ArgumentMaker>;

/** The operations on all streams; `known` are the existing ids. */
export const LISTS = {
  getStreams: (dice: Dice, known: StreamId[]): unknown[] => {
    const after = dice.pick(undefined, known[0], known.at(-1));
    const limit = dice.pick(undefined, 1, 2, 0);
    return [{
      ...(after === undefined ? {} : { after }),
      ...(limit === undefined ? {} : { limit }),
    }];
  },
  getStreamsNumber: (): unknown[] => [],
} satisfies Record<ListOperation, unknown>;

function range(dice: Dice, { numbers, latest }: StreamFacts): unknown[] {
  const ends = [
    dice.pick(0n, numbers[0] ?? 3n, latest, atLeast0(latest - 1n), 2n),
    dice.pick(MAX_NUMBER, (numbers.at(-1) ?? 3n) + 1n, latest, 0n, 4n),
  ].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
  if (dice.rarely(30)) ends.reverse();
  return [
    ...ends,
    dice.pick<unknown>(undefined, {}, { omitSnapshot: true }, {
      omitSnapshot: false,
    }),
  ];
}

function lastOf({ numbers }: StreamFacts): bigint {
  return numbers.at(-1) ?? -1n;
}

function firstMissing({ numbers }: StreamFacts): bigint {
  return BigInt(
    numbers.findIndex((number, index) => number !== BigInt(index)) + 1 ||
      numbers.length + 1,
  ) - 1n;
}

function atLeast0(number: bigint): bigint {
  return number < 0n ? 0n : number;
}

function near(dice: Dice, due: bigint): bigint {
  return dice.rarely(8)
    ? dice.pick(
      due + 1n,
      atLeast0(due - 1n),
      0n,
      due + 3n,
      MAX_NUMBER - 1n,
      MAX_NUMBER,
    )
    : due;
}

function nearCount(dice: Dice, due: number): number {
  return dice.rarely(8)
    ? dice.pick(due + 1, Math.max(due - 1, 0), 0, Number.MAX_SAFE_INTEGER)
    : due;
}

function someHash(dice: Dice): Uint8Array {
  return hashOf(dice.pick("a", "b", "c"));
}
