/**
 * Pure rules over block numbers and rows, for trimming and reading. All
 * implementations of the storage read through them, so that none differs.
 *
 * @module
 */
import {
  corruptStream,
  invalidArgument,
  miniblockGap,
  minipoolGenerationMismatch,
  minipoolHole,
  snapshotOutsideLastRun,
} from "./contract_errors.ts";
import type { MinipoolFaultCode } from "./contract_errors.ts";
import type {
  MiniblockDescriptor,
  MiniblockRange,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "./model.ts";

/** A stored block, as a read finds it. */
export interface MiniblockRow {
  /** The block's number. */
  readonly number: bigint;
  /** The block's data; zero-length in a corrupt stream. */
  readonly data: Uint8Array;
  /** The snapshot; absent, null and zero-length mean none. */
  readonly snapshot?: Uint8Array | null | undefined;
}

/** The key of a stored minipool row. */
export interface MinipoolKey {
  /** The number of the block that the row waits for. */
  readonly generation: bigint;
  /** -1 for the marker, else the event's place. */
  readonly slot: number;
}

/** A stored minipool row. */
export interface MinipoolRow extends MinipoolKey {
  /** The event; null or zero-length for the marker. */
  readonly envelope?: Uint8Array | null | undefined;
}

/** The number of the latest snapshot: old data stores -1 for 0. */
export function latestSnapshotOf(stored: bigint): bigint {
  return stored < 0n ? 0n : stored;
}

/** The descriptor of a row; an empty snapshot is absent. Bytes are shared. */
export function descriptorOf(
  row: MiniblockRow,
  options: { omitSnapshot?: boolean } = {},
): MiniblockDescriptor {
  const { number, data, snapshot } = row;
  return snapshot && snapshot.length > 0 && !options.omitSnapshot
    ? { number, data, snapshot }
    : { number, data };
}

/** What a `readMiniblocks` needs to know besides its rows. */
export interface MiniblocksContext {
  /** The first number asked for. */
  from: bigint;
  /** Whether block `from - 1` is stored. */
  hasBlockBefore: boolean;
  /** Whether any block below `from` is stored. */
  hasBlockBelow: boolean;
  /** Leaves snapshots out. */
  omitSnapshot?: boolean;
}

/**
 * Builds the result of `readMiniblocks` from the ascending rows of the range.
 * To check a later page of the same range, give its first number as `from` and
 * set both `hasBlock…` to true.
 *
 * Errors: `MINIBLOCKS_NOT_FOUND` (`miniblock_gap`) for a gap in the rows, or
 * before them when blocks below are stored.
 */
export function assembleMiniblocks(
  streamId: string,
  rows: readonly MiniblockRow[],
  context: MiniblocksContext,
): ReadMiniblocksResult {
  const { from, hasBlockBefore, hasBlockBelow } = context;
  const first = rows[0]?.number ?? from;
  let due = hasBlockBelow ? from : first;
  const miniblocks = rows.map((row) => {
    if (row.number !== due) {
      throw miniblockGap("MINIBLOCKS_NOT_FOUND", streamId, due, row.number);
    }
    due++;
    return descriptorOf(row, { omitSnapshot: context.omitSnapshot ?? false });
  });
  return { miniblocks, terminus: from === 0n || !hasBlockBefore };
}

/** What `readStreamFromLastSnapshot` found, in one consistent snapshot. */
export interface StreamRows {
  /** As stored; -1 means 0. */
  latestSnapshot: bigint;
  /**
   * All blocks from `latestSnapshot - numPreceding` on, ascending, as callers
   * get them.
   */
  blocks: readonly MiniblockDescriptor[];
  /** When `blocks` is empty: the last stored number, if any. */
  lastBelow?: bigint | undefined;
  /** All minipool rows by generation and slot. */
  minipool: readonly MinipoolRow[];
  /** The number of blocks asked for before the latest snapshot. */
  numPreceding: number;
}

/**
 * Builds the result of `readStreamFromLastSnapshot`.
 *
 * Errors: `NOT_FOUND` (`corrupt_stream`), `INTERNAL`
 * (`snapshot_outside_last_run`), `MINIBLOCKS_STORAGE_FAILURE`
 * (`minipool_generation_mismatch`, `minipool_hole`).
 */
export function assembleStreamView(
  streamId: string,
  stored: StreamRows,
): ReadStreamFromLastSnapshotResult {
  const latest = latestSnapshotOf(stored.latestSnapshot);
  const run = lastRun(stored.blocks);
  const first = run[0];
  const last = run.at(-1);
  if (first === undefined || last === undefined) {
    if (stored.lastBelow === undefined) throw corruptStream(streamId);
    throw snapshotOutsideLastRun(streamId, latest, stored.lastBelow);
  }
  const empty = run.find((row) => row.data.length === 0);
  if (empty !== undefined) throw corruptStream(streamId, empty.number);
  if (latest < first.number || latest > last.number) {
    throw snapshotOutsideLastRun(streamId, latest, last.number);
  }
  if (stored.minipool.length > 0) {
    checkMinipool(
      "MINIBLOCKS_STORAGE_FAILURE",
      streamId,
      stored.minipool,
      last.number + 1n,
    );
  }
  const start = latest - BigInt(stored.numPreceding);
  const skipped = start > first.number ? Number(start - first.number) : 0;
  return {
    snapshotMiniblockOffset: Number(latest - first.number) - skipped,
    miniblocks: run.slice(skipped),
    minipoolEnvelopes: stored.minipool.slice(1)
      .map((row) => row.envelope ?? new Uint8Array()),
  };
}

/** The rows of the last run without a gap; `rows` are ascending. */
export function lastRun<Row extends { readonly number: bigint }>(
  rows: readonly Row[],
): readonly Row[] {
  let start = rows.length - 1;
  let next = rows[start];
  while (next !== undefined) {
    const previous = rows[start - 1];
    if (previous === undefined || previous.number + 1n !== next.number) break;
    next = previous;
    start--;
  }
  return rows.slice(Math.max(start, 0));
}

/**
 * Checks that minipool rows, sorted by generation and slot, are of one
 * generation and have slots -1, 0, 1, … An empty list passes.
 *
 * Errors, under `code`: `minipool_generation_mismatch`, `minipool_hole`.
 */
export function checkMinipool(
  code: MinipoolFaultCode,
  streamId: string,
  rows: readonly MinipoolKey[],
  generation: bigint,
): void {
  for (const [index, row] of rows.entries()) {
    if (row.generation !== generation) {
      throw minipoolGenerationMismatch(
        code,
        streamId,
        generation,
        row.generation,
      );
    }
    if (row.slot !== index - 1) {
      throw minipoolHole(code, streamId, index - 1, row.slot);
    }
  }
}

/** The runs of ascending rows, with the numbers that carry a snapshot. */
export function rangesOf(
  rows: Iterable<{ readonly number: bigint; readonly hasSnapshot: boolean }>,
): MiniblockRange[] {
  const ranges: MiniblockRange[] = [];
  let range: MiniblockRange | undefined;
  for (const { number, hasSnapshot } of rows) {
    if (range === undefined || range.endInclusive + 1n !== number) {
      range = {
        startInclusive: number,
        endInclusive: number,
        snapshotSeqNums: [],
      };
      ranges.push(range);
    }
    range.endInclusive = number;
    if (hasSnapshot) range.snapshotSeqNums.push(number);
  }
  return ranges;
}

/**
 * Which snapshots of a range may be cleared so that one per interval remains.
 *
 * `snapshots` are block numbers, ascending. Those below `rangeStart` and those
 * among the newest `minKeep` blocks of the range are left alone. Of the others,
 * the first in each interval of `retentionInterval` block numbers is kept and
 * the rest are returned. An interval of 0 or less keeps all.
 */
export function snapshotsToNullify(
  rangeStart: bigint,
  rangeEnd: bigint,
  snapshots: bigint[],
  retentionInterval: bigint,
  minKeep: bigint,
): bigint[] {
  if (retentionInterval <= 0n || snapshots.length < 2) return [];
  if (rangeStart > rangeEnd) return [];
  const nullified: bigint[] = [];
  let bucket: bigint | undefined;
  for (const number of snapshots) {
    if (number < rangeStart) continue;
    if (number > rangeEnd - minKeep) break;
    const current = number / retentionInterval;
    if (current === bucket) nullified.push(number);
    bucket = current;
  }
  return nullified;
}

/** The largest snapshot number that is not above `at`, if there is one. */
export function closestSnapshotMiniblock(
  ranges: MiniblockRange[],
  at: bigint,
): bigint | undefined {
  let closest: bigint | undefined;
  for (const range of ranges) {
    for (const number of range.snapshotSeqNums) {
      if (number <= at && (closest === undefined || number > closest)) {
        closest = number;
      }
    }
  }
  return closest;
}

/**
 * Block numbers as ascending runs of at most `maxLength` numbers, without
 * duplicates; 0 means no limit. The runs list no snapshots.
 *
 * Errors: `INVALID_ARGUMENT` for a limit that is not an integer of 0 or more.
 */
export function miniblockIdsToRanges(
  ids: bigint[],
  maxLength: number,
): MiniblockRange[] {
  if (!Number.isSafeInteger(maxLength) || maxLength < 0) {
    throw invalidArgument({
      argument: "maxLength",
      reason: "out_of_range",
      rule: "must be an integer of 0 or more",
      received: maxLength,
    });
  }
  const limit = BigInt(maxLength);
  const sorted = [...new Set(ids)].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
  return rangesOf(sorted.map((number) => ({ number, hasSnapshot: false })))
    .flatMap((range) => splitRange(range, limit));
}

function splitRange(range: MiniblockRange, limit: bigint): MiniblockRange[] {
  if (limit === 0n) return [range];
  const parts: MiniblockRange[] = [];
  for (
    let start = range.startInclusive;
    start <= range.endInclusive;
    start += limit
  ) {
    const end = start + limit - 1n;
    parts.push({
      startInclusive: start,
      endInclusive: end < range.endInclusive ? end : range.endInclusive,
      snapshotSeqNums: [],
    });
  }
  return parts;
}
