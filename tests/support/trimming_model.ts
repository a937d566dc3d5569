/**
 * The rules of trimming a second time, as plainly as possible, over streams that
 * are lists.
 */
import fc from "fast-check";
import type { TrimmingOptions } from "../../src/postgres/trimming_options.ts";
import type { PlantedStream } from "../../src/testing/contract/suite.ts";
import {
  block,
  legacyBlock,
  minipool,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";

/** A block, and where its snapshot is. */
export interface ModelBlock {
  number: bigint;
  snapshot: "none" | "beside" | "inside";
}

/** A stream, and the rules by which it is trimmed. */
export interface TrimmingCase {
  blocks: ModelBlock[];
  latest: bigint;
  history: bigint;
  retention: bigint;
  target: bigint | undefined;
  batchSize: number;
}

/** What trimming leaves of a stream. */
export interface Outcome {
  numbers: bigint[];
  /** Blocks that still have a snapshot beside them. */
  beside: bigint[];
}

/** What the rules leave of the stream; undefined if trimming must refuse it. */
export function expectedOutcome(stream: TrimmingCase): Outcome | undefined {
  const { blocks, latest, history, retention, target } = stream;
  const starts = blocks.filter(({ number }, i) =>
    blocks[i - 1]?.number !== number - 1n
  );
  const runStart = starts.at(-1)!.number;
  const isLoneGenesis = starts.length === 2 && blocks[0]!.number === 0n &&
    starts[1] === blocks[1];
  if (starts.length > 1 && !isLoneGenesis) return undefined;
  let left = blocks;
  const run = blocks.filter(({ number }) => number >= runStart);
  const wanted = [
    ...(history > 0n ? [latest - history] : []),
    ...(target === undefined ? [] : [target < latest ? target : latest]),
  ].reduce((a, b) => a > b ? a : b, -1n);
  const cut = latest === 0n
    ? undefined
    : run.findLast(({ number, snapshot }) =>
      number <= wanted && snapshot !== "none"
    );
  if (cut !== undefined) {
    left = blocks.filter(({ number }) => number >= cut.number);
  }
  const last = blocks.at(-1)!.number;
  const stays = new Map<bigint, bigint>();
  const cleared = new Set<bigint>();
  for (const { number, snapshot } of left) {
    if (retention === 0n || latest === 0n || number < runStart) continue;
    if (snapshot !== "beside" || number > last - 100n) continue;
    const interval = number / retention;
    if (!stays.has(interval)) stays.set(interval, number);
    else if (number !== latest) cleared.add(number);
  }
  return {
    numbers: left.map(({ number }) => number),
    beside: left.filter(({ number, snapshot }) =>
      snapshot === "beside" && !cleared.has(number)
    ).map(({ number }) => number),
  };
}

/** The stream as rows. */
export function rowsOf({ blocks, latest }: TrimmingCase): PlantedStream {
  return {
    latestSnapshot: latest,
    blocks: blocks.map(({ number, snapshot }) => {
      switch (snapshot) {
        case "none":
          return block(number);
        case "beside":
          return snapshotBlock(number);
        case "inside":
          return { number, data: legacyBlock(number).data };
      }
    }),
    minipool: minipool(blocks.at(-1)!.number + 1n, 1),
  };
}

/** The options that express the case's rules for channels. */
export function optionsOf(
  { history, retention, batchSize }: TrimmingCase,
): TrimmingOptions {
  return {
    historyMiniblocks: { channel: history, default: 0n },
    snapshotRetentionInterval: retention,
    batchSize,
  };
}

/** Generates valid streams, and streams that trimming must refuse. */
export const trimmingCases: fc.Arbitrary<TrimmingCase> = fc.record({
  first: fc.constantFrom(0n, 1n, 7n, 95n),
  length: fc.integer({ min: 1, max: 420 }),
  /** The part of the blocks before snapshots stand beside the data. */
  modern: fc.double({ min: 0, max: 1, noNaN: true }),
  every: fc.integer({ min: 1, max: 60 }),
  dice: fc.infiniteStream(fc.integer({ min: 0, max: 99 })),
  shape: fc.constantFrom("run", "run", "run", "lone genesis", "gap"),
  history: fc.constantFrom(0n, 1n, 5n, 50n, 130n, 1000n),
  retention: fc.constantFrom(0n, 100n, 100n, 150n),
  target: fc.option(fc.bigInt({ min: 0n, max: 500n }), { nil: undefined }),
  batchSize: fc.constantFrom(1, 7, 50, 1000),
}).map(({ first, length, modern, every, dice, shape, ...rules }) => {
  const roll = () => dice.next().value;
  const blocks = Array.from({ length }, (_, i): ModelBlock => ({
    number: first + BigInt(i),
    snapshot: roll() % every !== 0
      ? "none"
      : i < length * modern
      ? "inside"
      : "beside",
  }));
  const marked = blocks.filter(({ snapshot }) => snapshot !== "none");
  // Mostly the last snapshot; the genesis if the stream has none.
  const latest = marked.at(roll() < 80 ? -1 : -2) ?? marked[0];
  if (latest === undefined && first > 0n) blocks[0]!.snapshot = "beside";
  const run = latest?.number ?? first;
  if (shape === "lone genesis" && first > 1n) {
    blocks.unshift({ number: 0n, snapshot: "beside" });
  }
  if (shape === "gap" && length > 4) {
    // The gap is below the latest snapshot, so the stream can still be read.
    const at = blocks.findIndex(({ number }) => number === run) - 1;
    if (at > 1) blocks.splice(at, 1);
  }
  return { blocks, latest: run, ...rules };
});
