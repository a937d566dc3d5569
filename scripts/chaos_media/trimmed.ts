/** A model of the trimming rules: what trimming may remove from the streams. */
import type {
  MiniblockDescriptor,
  StreamId,
  TrimmingOptions,
} from "../../mod.ts";
import { hasSameData, isSame, isWritten } from "./contents.ts";

const history = 10n;
const retention = 100n;
const target = 20n;
/** The snapshots of this number of newest blocks stay. */
const newest = 100;

/** Rules that cut most blocks, and often. */
export const cutting = {
  activationFactor: 1,
  historyMiniblocks: { media: history },
  snapshotRetentionInterval: retention,
  batchSize: 7,
} satisfies TrimmingOptions;

/** Rules that cut nothing, so that snapshots remain that can be cleared. */
export const clearing = {
  ...cutting,
  historyMiniblocks: { media: 0n },
  minSnapshotEvents: { media: 1 },
} satisfies TrimmingOptions;

/** All rules that a process may use. */
export function trimmingsOf(ids: readonly StreamId[]): TrimmingOptions[] {
  return [
    cutting,
    clearing,
    { ...clearing, batchSize: 1000 },
    {},
    { activationFactor: 1, historyMiniblocks: { media: 50n } },
    {
      targets: ids.filter(isWritten).map((streamId) => ({
        streamId,
        miniblock: target,
      })),
      batchSize: 3,
    },
  ];
}

/** Says where the snapshot of a block is. */
export function snapshotOf(
  { snapshot, hasLegacySnapshot }: MiniblockDescriptor,
): "beside" | "inside" | "none" {
  return snapshot ? "beside" : hasLegacySnapshot ? "inside" : "none";
}

/** Returns the number of the latest snapshot, as the store records it. */
export function latestOf(written: readonly MiniblockDescriptor[]): number {
  const latest = written.findLastIndex((one) => snapshotOf(one) !== "none");
  return Math.max(latest, 0);
}

/**
 * Whether trimming may leave the blocks that were read of those that were
 * written.
 */
export function isLeftOf(
  read: readonly MiniblockDescriptor[],
  written: readonly MiniblockDescriptor[],
): boolean {
  const first = Number(read[0]?.number ?? -1);
  const latest = latestOf(written);
  if (read.length !== written.length - first) return false;
  // A cut that was interrupted between two steps leaves the blocks between.
  const at = Math.max(
    latest - Number(history),
    Math.min(latest, Number(target)),
  );
  const isCut = written.slice(Math.max(first, 0), at + 1).some((one) =>
    snapshotOf(one) !== "none"
  );
  if (first !== 0 && !isCut) return false;
  return read.every((block, i) => {
    const number = first + i;
    const expected = written[number]!;
    if (isSame(block, expected)) return true;
    return block.snapshot === undefined && hasSameData(block, expected) &&
      number !== latest && mayBeCleared(written, number);
  });
}

/**
 * Whether a snapshot is neither among the newest nor the first of its interval.
 */
function mayBeCleared(
  written: readonly MiniblockDescriptor[],
  number: number,
): boolean {
  if (number > written.length - 1 - newest) return false;
  const start = number - number % Number(retention);
  return written.slice(start, number).some((one) =>
    snapshotOf(one) === "beside"
  );
}

/**
 * Counts the cleared snapshots: those that are gone although their blocks are
 * stored.
 */
export function countCleared(
  read: readonly MiniblockDescriptor[],
  written: readonly MiniblockDescriptor[],
): number {
  return read.filter((block) =>
    block.snapshot === undefined &&
    written[Number(block.number)]?.snapshot !== undefined
  ).length;
}
