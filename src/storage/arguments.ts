/**
 * The argument checks that the contract makes before it touches the database,
 * one function for each operation, shared by every implementation.
 *
 * Block numbers and generations are `bigint` from 0 to 2^63 - 1; slots, sizes
 * and counts are integers from 0 to 2^53 - 1. Callers may write plain
 * JavaScript, so types are checked at run time too.
 *
 * @module
 */
import {
  checkBytes,
  checkCount,
  checkEach,
  checkHash,
  checkInt64,
  checkList,
  checkObject,
  isFilled,
  isInt64,
  MAX_INT64,
  outOfRange,
  wrongType,
} from "./argument_types.ts";
import {
  checkConsecutive,
  checkContent,
  checkContents,
  checkGenerations,
  checkNotEmpty,
  checkNumbers,
} from "./block_arguments.ts";
import { badStreamId, invalidArgument } from "./fault.ts";
import { hasLegacySnapshot } from "./miniblock_proto.ts";
import type {
  GetStreamsOptions,
  MiniblockDescriptor,
  NewMinipool,
  OperationOptions,
  PreviousMinipool,
  ReadMiniblocksOptions,
} from "./model.ts";
import { brokenRuleOf, isStoredForm, type StreamId } from "./stream_id.ts";
import { hasOwnSnapshot } from "./write_rules.ts";

/**
 * `BAD_STREAM_ID` unless `streamId` is 64 lowercase hex characters. Stored
 * streams are checked no further, so that all of them can be deleted.
 */
export function checkStreamId(
  streamId: unknown,
  argument = "streamId",
): asserts streamId is StreamId {
  if (!isStoredForm(streamId)) throw badStreamId(argument, streamId);
}

/**
 * `BAD_STREAM_ID` unless a node can read the id. For operations that create a
 * stream: one id that a node can't read makes its listing of all streams fail.
 */
export function checkNewStreamId(
  streamId: unknown,
  argument = "streamId",
): void {
  checkStreamId(streamId, argument);
  const broken = brokenRuleOf(streamId);
  if (broken !== undefined) throw badStreamId(argument, streamId, broken);
}

/** Checks the options that every method accepts. */
export function checkOptions(options: OperationOptions | undefined): void {
  if (options === undefined) return;
  checkObject("options", options);
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw wrongType("options.signal", "an AbortSignal", signal);
  }
}

/** Checks `maintenance.sweepEphemeralStreams`. */
export function checkSweep(
  { ttlMs, dryRun }: { ttlMs?: number; dryRun?: boolean },
): void {
  if (ttlMs !== undefined) checkCount("options.ttlMs", ttlMs);
  checkDryRun(dryRun);
}

/** Checks `maintenance.trimStreams`. */
export function checkTrimStreams(
  { streamId, dryRun }: { streamId?: string; dryRun?: boolean },
): void {
  if (streamId !== undefined) checkStreamId(streamId, "options.streamId");
  checkDryRun(dryRun);
}

function checkDryRun(dryRun: unknown): void {
  if (dryRun !== undefined && typeof dryRun !== "boolean") {
    throw wrongType("options.dryRun", "a boolean", dryRun);
  }
}

/** Checks `maintenance.offloadMedia`. */
export function checkOffloadMedia({ streamId }: { streamId?: unknown }): void {
  if (streamId !== undefined) checkStreamId(streamId);
}

/** Checks `maintenance.reconcileMedia`. */
export function checkReconcileMedia(
  { minAgeMs, maxDeleted, dryRun }: {
    minAgeMs?: number;
    maxDeleted?: number;
    dryRun?: boolean;
  },
): void {
  if (minAgeMs !== undefined) checkCount("options.minAgeMs", minAgeMs);
  if (maxDeleted !== undefined) checkCount("options.maxDeleted", maxDeleted);
  if (dryRun !== undefined && typeof dryRun !== "boolean") {
    throw wrongType("options.dryRun", "a boolean", dryRun);
  }
}

/** Checks `createStreamStorage` and `createEphemeralStreamStorage`. */
export function checkGenesis(genesis: MiniblockDescriptor): void {
  checkObject("genesis", genesis);
  checkContent("genesis", genesis);
}

/** Checks `writeEvent`. */
export function checkWriteEvent(
  minipoolGeneration: bigint,
  minipoolSlot: number,
  envelope: Uint8Array,
): void {
  checkInt64("minipoolGeneration", minipoolGeneration);
  checkCount("minipoolSlot", minipoolSlot);
  checkBytes("envelope", envelope);
}

/**
 * Checks `writeMiniblocks`. Besides `INVALID_ARGUMENT` it may throw `INTERNAL`
 * with `empty_miniblock_list`, `prev_generation_mismatch`,
 * `new_generation_mismatch` or `miniblocks_not_consecutive`.
 */
export function checkWriteMiniblocks(
  miniblocks: MiniblockDescriptor[],
  newMinipool: NewMinipool,
  prevMinipool: PreviousMinipool,
): void {
  checkList("miniblocks", miniblocks);
  checkNumbers(miniblocks);
  checkObject("newMinipool", newMinipool);
  checkInt64("newMinipool.generation", newMinipool.generation);
  checkList("newMinipool.envelopes", newMinipool.envelopes);
  checkObject("prevMinipool", prevMinipool);
  checkInt64("prevMinipool.generation", prevMinipool.generation);
  if (prevMinipool.size !== undefined) {
    checkCount("prevMinipool.size", prevMinipool.size);
  }
  checkGenerations(miniblocks, newMinipool, prevMinipool);
  checkConsecutive("INTERNAL", miniblocks);
  checkContents(miniblocks);
  checkEach(
    "newMinipool.envelopes",
    newMinipool.envelopes,
    isFilled,
    checkBytes,
  );
}

/** Checks `writePrecedingMiniblocks`. */
export function checkWritePrecedingMiniblocks(
  miniblocks: MiniblockDescriptor[],
): void {
  checkList("miniblocks", miniblocks);
  checkNumbers(miniblocks);
  checkNotEmpty("INVALID_ARGUMENT", miniblocks);
  checkConsecutive("INVALID_ARGUMENT", miniblocks);
  checkContents(miniblocks);
}

/** Checks `writeArchiveMiniblocks`. The descriptors' numbers are ignored. */
export function checkWriteArchiveMiniblocks(
  startMiniblockNum: bigint,
  miniblocks: MiniblockDescriptor[],
): void {
  checkInt64("startMiniblockNum", startMiniblockNum);
  checkList("miniblocks", miniblocks);
  checkContents(miniblocks);
  const end = startMiniblockNum + BigInt(miniblocks.length) - 1n;
  if (end > MAX_INT64) {
    throw outOfRange("startMiniblockNum", "must leave numbers for all blocks");
  }
}

/** Checks `writeEphemeralMiniblock`. */
export function checkWriteEphemeralMiniblock(
  miniblock: MiniblockDescriptor,
): void {
  checkObject("miniblock", miniblock);
  checkInt64("miniblock.number", miniblock.number);
  checkContent("miniblock", miniblock);
}

/** Checks `reinitializeStreamStorage`. */
export function checkReinitialize(
  miniblocks: MiniblockDescriptor[],
  lastSnapshotMiniblockNum: bigint,
  updateExisting: boolean,
): void {
  checkList("miniblocks", miniblocks);
  checkNumbers(miniblocks);
  checkInt64("lastSnapshotMiniblockNum", lastSnapshotMiniblockNum);
  if (typeof updateExisting !== "boolean") {
    throw wrongType("updateExisting", "a boolean", updateExisting);
  }
  checkNotEmpty("INVALID_ARGUMENT", miniblocks);
  checkConsecutive("INVALID_ARGUMENT", miniblocks);
  checkContents(miniblocks);
  const block = miniblocks.find((b) => b.number === lastSnapshotMiniblockNum);
  if (block === undefined) {
    throw invalidArgument({
      argument: "lastSnapshotMiniblockNum",
      reason: "snapshot_outside_range",
      rule: "must be the number of a given miniblock",
      received: lastSnapshotMiniblockNum,
    });
  }
  if (!hasOwnSnapshot(block) && !hasLegacySnapshot(block.data)) {
    throw invalidArgument({
      argument: "lastSnapshotMiniblockNum",
      reason: "snapshot_missing",
      rule: "must be the number of a miniblock with a snapshot",
      received: lastSnapshotMiniblockNum,
    });
  }
  if (miniblocks.at(-1)?.number === MAX_INT64) {
    throw outOfRange("miniblocks", "must leave a number for the next block");
  }
}

/** Checks `writeMiniblockCandidate`. */
export function checkWriteCandidate(miniblock: MiniblockDescriptor): void {
  checkObject("miniblock", miniblock);
  checkInt64("miniblock.number", miniblock.number);
  checkContent("miniblock", miniblock);
  if (miniblock.hash === undefined) {
    throw invalidArgument({
      argument: "miniblock.hash",
      reason: "missing_hash",
      rule: "must be given for a candidate",
    });
  }
  checkHash("miniblock.hash", miniblock.hash);
}

/** Checks `readMiniblockCandidate`. */
export function checkReadCandidate(
  blockHash: Uint8Array,
  blockNumber: bigint,
): void {
  checkHash("blockHash", blockHash);
  checkInt64("blockNumber", blockNumber);
}

/** Checks `getMiniblockCandidateCount`. */
export function checkCandidateCount(miniblockNumber: bigint): void {
  checkInt64("miniblockNumber", miniblockNumber);
}

/** Checks `readStreamFromLastSnapshot`. */
export function checkReadStream(numPrecedingMiniblocks: number): void {
  checkCount("numPrecedingMiniblocks", numPrecedingMiniblocks);
}

/** Checks `readMiniblocks` and `streamMiniblocks`. */
export function checkReadMiniblocks(
  fromInclusive: bigint,
  toExclusive: bigint,
  options?: ReadMiniblocksOptions,
): void {
  checkRange(fromInclusive, toExclusive);
  const omit: unknown = options?.omitSnapshot;
  if (omit !== undefined && typeof omit !== "boolean") {
    throw wrongType("options.omitSnapshot", "a boolean", omit);
  }
}

/** Checks the range of `readMiniblocks` and `debugDeleteMiniblocks`. */
export function checkRange(fromInclusive: bigint, toExclusive: bigint): void {
  checkInt64("fromInclusive", fromInclusive);
  checkInt64("toExclusive", toExclusive);
  if (fromInclusive > toExclusive) {
    throw invalidArgument({
      argument: "toExclusive",
      reason: "range_reversed",
      rule: `must not be below fromInclusive ${fromInclusive}`,
      received: toExclusive,
    });
  }
}

/** Checks `getStreams`. */
export function checkGetStreams(options: GetStreamsOptions): void {
  if (options.after !== undefined) {
    checkStreamId(options.after, "options.after");
  }
  if (options.limit === undefined) return;
  checkCount("options.limit", options.limit);
  if (options.limit === 0) {
    throw outOfRange("options.limit", "must be 1 or more", 0);
  }
}

/** Checks `trimStream`. */
export function checkTrimStream(
  trimToMbExclusive: bigint,
  nullifySnapshotMbs: bigint[],
): void {
  checkInt64("trimToMbExclusive", trimToMbExclusive);
  checkList("nullifySnapshotMbs", nullifySnapshotMbs);
  checkEach("nullifySnapshotMbs", nullifySnapshotMbs, isInt64, checkInt64);
}
