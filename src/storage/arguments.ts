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
import type { StreamStorageErrorCode } from "./errors.ts";
import { badStreamId, fault, invalidArgument } from "./fault.ts";
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

const MAX_INT64 = 2n ** 63n - 1n;
const HASH_BYTES = 32;

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

function checkGenerations(
  miniblocks: MiniblockDescriptor[],
  newMinipool: NewMinipool,
  prevMinipool: PreviousMinipool,
): void {
  checkNotEmpty("INTERNAL", miniblocks);
  const first = miniblocks[0]?.number ?? 0n;
  const last = miniblocks.at(-1)?.number ?? 0n;
  if (prevMinipool.generation !== first) {
    throw fault(
      "INTERNAL",
      "prev_generation_mismatch",
      "Previous generation must be the first miniblock's number " +
        `${first}, received ${prevMinipool.generation}`,
      { expected: first, actual: prevMinipool.generation },
    );
  }
  if (newMinipool.generation !== last + 1n) {
    throw fault(
      "INTERNAL",
      "new_generation_mismatch",
      "New generation must follow the last miniblock's number " +
        `${last}, received ${newMinipool.generation}`,
      { expected: last + 1n, actual: newMinipool.generation },
    );
  }
}

function checkNotEmpty(
  code: StreamStorageErrorCode,
  miniblocks: MiniblockDescriptor[],
): void {
  if (miniblocks.length === 0) {
    throw fault(
      code,
      "empty_miniblock_list",
      "Argument miniblocks must not be empty",
      { argument: "miniblocks" },
    );
  }
}

function checkConsecutive(
  code: StreamStorageErrorCode,
  miniblocks: MiniblockDescriptor[],
): void {
  let due = miniblocks[0]?.number ?? 0n;
  let index = -1;
  for (const { number } of miniblocks) {
    index++;
    if (number !== due) {
      throw fault(
        code,
        "miniblocks_not_consecutive",
        `Argument miniblocks[${index}].number must be ${due}, ` +
          `received ${number}`,
        {
          argument: `miniblocks[${index}].number`,
          expected: due,
          actual: number,
        },
      );
    }
    due++;
  }
}

function checkNumbers(miniblocks: MiniblockDescriptor[]): void {
  checkEach(
    "miniblocks",
    miniblocks,
    (block: MiniblockDescriptor | null) => isInt64(block?.number),
    (argument, block) => {
      checkObject(argument, block);
      checkInt64(`${argument}.number`, block!.number);
    },
  );
}

function checkContents(miniblocks: MiniblockDescriptor[]): void {
  checkEach(
    "miniblocks",
    miniblocks,
    (block: MiniblockDescriptor | null) =>
      isFilled(block?.data) && block!.snapshot === undefined &&
      block!.hasLegacySnapshot === undefined,
    (argument, block) => {
      checkObject(argument, block);
      checkContent(argument, block!);
    },
  );
}

/**
 * Calls `check` only for items that fail the quick `isRight`. There may be a
 * hundred thousand items, and naming each takes longer than all the rest.
 */
function checkEach<T>(
  argument: string,
  list: readonly T[],
  isRight: (item: T) => boolean,
  check: (argument: string, item: T) => void,
): void {
  for (let index = 0; index < list.length; index++) {
    const item = list[index]!;
    if (!isRight(item)) check(`${argument}[${index}]`, item);
  }
}

/** Checks the bytes of a block. The hash matters only for candidates. */
function checkContent(argument: string, block: MiniblockDescriptor): void {
  checkBytes(`${argument}.data`, block.data);
  if (
    block.snapshot !== undefined && !(block.snapshot instanceof Uint8Array)
  ) {
    throw wrongType(`${argument}.snapshot`, "a Uint8Array", block.snapshot);
  }
  const legacy: unknown = block.hasLegacySnapshot;
  if (legacy !== undefined && typeof legacy !== "boolean") {
    throw wrongType(`${argument}.hasLegacySnapshot`, "a boolean", legacy);
  }
  if (legacy === true && !hasLegacySnapshot(block.data)) {
    throw invalidArgument({
      argument: `${argument}.hasLegacySnapshot`,
      reason: "no_legacy_snapshot",
      rule: "needs a snapshot inside the miniblock's data",
    });
  }
}

function checkObject(argument: string, value: unknown): void {
  if (typeof value !== "object" || value === null) {
    throw wrongType(argument, "an object", value);
  }
}

function checkList(argument: string, value: unknown): void {
  if (!Array.isArray(value)) throw wrongType(argument, "an array", value);
}

function checkBytes(argument: string, value: unknown): void {
  if (!(value instanceof Uint8Array)) {
    throw wrongType(argument, "a Uint8Array", value);
  }
  if (value.length === 0) {
    throw invalidArgument({
      argument,
      reason: "empty_bytes",
      rule: "must not be empty",
      received: value,
    });
  }
}

function isFilled(value: unknown): boolean {
  return value instanceof Uint8Array && value.length > 0;
}

function checkHash(argument: string, value: unknown): void {
  if (!(value instanceof Uint8Array)) {
    throw wrongType(argument, "a Uint8Array", value);
  }
  if (value.length !== HASH_BYTES) {
    throw outOfRange(argument, `must be ${HASH_BYTES} bytes long`, value);
  }
}

function isInt64(value: unknown): boolean {
  return typeof value === "bigint" && value >= 0n && value <= MAX_INT64;
}

function checkInt64(argument: string, value: unknown): void {
  if (typeof value !== "bigint") throw wrongType(argument, "a bigint", value);
  if (value < 0n || value > MAX_INT64) {
    throw outOfRange(argument, "must be from 0 to 2^63 - 1", value);
  }
}

function checkCount(argument: string, value: unknown): void {
  if (typeof value !== "number") throw wrongType(argument, "a number", value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw outOfRange(argument, "must be an integer from 0 to 2^53 - 1", value);
  }
}

function wrongType(argument: string, type: string, received: unknown): Error {
  return invalidArgument({
    argument,
    reason: "wrong_type",
    rule: `must be ${type}`,
    received,
  });
}

function outOfRange(argument: string, rule: string, received?: unknown): Error {
  return invalidArgument({
    argument,
    reason: "out_of_range",
    rule,
    ...(received === undefined ? {} : { received }),
  });
}
