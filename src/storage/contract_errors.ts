/**
 * One function for each rule of the contract that can be broken, so that every
 * implementation reports the same code, reason and details.
 *
 * The file has more than 400 lines, because it is a list, in which errors are
 * looked up.
 *
 * In details, `expected` is what the caller gave or the number that was due,
 * `actual` is what is stored.
 *
 * @module
 */
import { StreamStorageError, type StreamStorageOutcome } from "./errors.ts";
import { fault, invalidArgument } from "./fault.ts";

export { badStreamId, invalidArgument } from "./fault.ts";

/** `FAILED_PRECONDITION`, `closed`: a call after close. */
export function closed(): StreamStorageError {
  return fault("FAILED_PRECONDITION", "closed", "Storage is closed");
}

/** `CANCELED`, `aborted`: the caller's signal; its reason is the cause. */
export function canceled(
  cause: unknown,
  outcome: StreamStorageOutcome = "rolled_back",
): StreamStorageError {
  return new StreamStorageError({
    code: "CANCELED",
    message: "Operation was aborted by its signal",
    details: { reason: "aborted" },
    outcome,
    cause,
  });
}

/** `NOT_FOUND`, `stream_not_found`. */
export function streamNotFound(streamId: string): StreamStorageError {
  return fault(
    "NOT_FOUND",
    "stream_not_found",
    `Stream ${streamId} does not exist`,
    { streamId },
  );
}

/** `ALREADY_EXISTS`, `stream_exists`. */
export function streamExists(streamId: string): StreamStorageError {
  return fault(
    "ALREADY_EXISTS",
    "stream_exists",
    `Stream ${streamId} already exists`,
    { streamId },
  );
}

/** `no_miniblocks`: the stream has no block where one is needed. */
export function noMiniblocks(
  code: "NOT_FOUND" | "FAILED_PRECONDITION" | "INTERNAL",
  streamId: string,
): StreamStorageError {
  return fault(
    code,
    "no_miniblocks",
    `Stream ${streamId} has no miniblocks`,
    { streamId, lastMiniblockInStorage: -1n },
  );
}

/** `NOT_FOUND`, `corrupt_stream`: no block to return, or an empty one. */
export function corruptStream(
  streamId: string,
  miniblock?: bigint,
): StreamStorageError {
  const what = miniblock === undefined
    ? "has no miniblocks"
    : `has no data in miniblock ${miniblock}`;
  return fault(
    "NOT_FOUND",
    "corrupt_stream",
    `Stream ${streamId} is corrupt: it ${what}`,
    miniblock === undefined ? { streamId } : { streamId, miniblock },
  );
}

/** `FAILED_PRECONDITION`, `ephemeral_stream`. */
export function ephemeralStream(streamId: string): StreamStorageError {
  return fault(
    "FAILED_PRECONDITION",
    "ephemeral_stream",
    `Stream ${streamId} is ephemeral; normalize it first`,
    { streamId },
  );
}

/** `FAILED_PRECONDITION`, `stored_externally`: blocks in object storage. */
export function storedExternally(streamId: string): StreamStorageError {
  return fault(
    "FAILED_PRECONDITION",
    "stored_externally",
    `Stream ${streamId} has its miniblocks in object storage; ` +
      "bring them back first",
    { streamId },
  );
}

/** `FAILED_PRECONDITION`, `media_storage_not_configured`. */
export function mediaStorageNotConfigured(
  location: string,
  streamId?: string,
): StreamStorageError {
  const message = streamId === undefined
    ? "Media offload needs option mediaStorage"
    : `Stream ${streamId} has its miniblocks in ${location}; ` +
      "reaching them needs option mediaStorage";
  return fault(
    "FAILED_PRECONDITION",
    "media_storage_not_configured",
    message,
    streamId === undefined ? { location } : { location, streamId },
  );
}

/** `stream_not_ephemeral`: the operation is only for ephemeral streams. */
export function notEphemeral(
  code: "NOT_FOUND" | "ALREADY_EXISTS",
  streamId: string,
): StreamStorageError {
  return fault(
    code,
    "stream_not_ephemeral",
    `Stream ${streamId} is not ephemeral`,
    { streamId },
  );
}

/** `FAILED_PRECONDITION`, `stream_has_minipool`: not an archive stream. */
export function streamHasMinipool(streamId: string): StreamStorageError {
  return fault(
    "FAILED_PRECONDITION",
    "stream_has_minipool",
    `Stream ${streamId} has a minipool, so it takes no archived miniblocks`,
    { streamId },
  );
}

/** The codes under which a broken minipool is reported. */
export type MinipoolFaultCode =
  | "DB_OPERATION_FAILURE"
  | "INTERNAL"
  | "MINIBLOCKS_STORAGE_FAILURE";

/**
 * `minipool_generation_mismatch`; `actual` is absent when the stream has no
 * minipool rows.
 */
export function minipoolGenerationMismatch(
  code: MinipoolFaultCode,
  streamId: string,
  expected: bigint,
  actual: bigint | undefined,
): StreamStorageError {
  return fault(
    code,
    "minipool_generation_mismatch",
    `Stream ${streamId} must have a minipool of generation ${expected}, ` +
      `but stores ${actual ?? "none"}`,
    actual === undefined
      ? { streamId, expected }
      : { streamId, expected, actual },
  );
}

/**
 * `DB_OPERATION_FAILURE`, `minipool_slot_mismatch`: `expected` is the event's
 * slot and `actual` the first free one. For a minipool without its marker they
 * are -1 and the first stored slot.
 */
export function minipoolSlotMismatch(
  streamId: string,
  expected: number,
  actual: number,
): StreamStorageError {
  return fault(
    "DB_OPERATION_FAILURE",
    "minipool_slot_mismatch",
    `Stream ${streamId} must have slot ${expected} of its minipool next, ` +
      `but has ${actual}`,
    { streamId, expected, actual },
  );
}

/** `minipool_hole`: the slot due next, and the one that is stored. */
export function minipoolHole(
  code: MinipoolFaultCode,
  streamId: string,
  expected: number,
  actual: number,
): StreamStorageError {
  return fault(
    code,
    "minipool_hole",
    `Stream ${streamId} has a hole in its minipool: slot ${expected} should ` +
      `come next, but ${actual} is stored`,
    { streamId, expected, actual },
  );
}

/** `INTERNAL`, `minipool_size_mismatch`: the numbers of events. */
export function minipoolSizeMismatch(
  streamId: string,
  expected: number,
  actual: number,
): StreamStorageError {
  return fault(
    "INTERNAL",
    "minipool_size_mismatch",
    `Stream ${streamId} must have ${expected} minipool events, ` +
      `but stores ${actual}`,
    { streamId, expected, actual },
  );
}

/** `INTERNAL`, `minipool_missing`: no minipool rows, and no size given. */
export function minipoolMissing(streamId: string): StreamStorageError {
  return fault(
    "INTERNAL",
    "minipool_missing",
    `Stream ${streamId} has no minipool`,
    { streamId },
  );
}

/** `INTERNAL`, `last_miniblock_mismatch`: the blocks leave a gap or overlap. */
export function lastMiniblockMismatch(
  streamId: string,
  prevGeneration: bigint,
  lastMiniblockInStorage: bigint,
): StreamStorageError {
  return fault(
    "INTERNAL",
    "last_miniblock_mismatch",
    `Stream ${streamId} must continue at miniblock ${prevGeneration}, ` +
      `but the last stored one is ${lastMiniblockInStorage}`,
    {
      streamId,
      expected: prevGeneration,
      actual: lastMiniblockInStorage + 1n,
      lastMiniblockInStorage,
    },
  );
}

/** `MINIBLOCKS_STORAGE_FAILURE`, `candidate_too_old`. */
export function candidateTooOld(
  streamId: string,
  lastMiniblockInStorage: bigint,
  candidateMiniblock: bigint,
): StreamStorageError {
  return fault(
    "MINIBLOCKS_STORAGE_FAILURE",
    "candidate_too_old",
    `Stream ${streamId} takes candidates above miniblock ` +
      `${lastMiniblockInStorage}, received ${candidateMiniblock}`,
    { streamId, lastMiniblockInStorage, candidateMiniblock },
  );
}

/** `ALREADY_EXISTS`, `candidate_exists`; `hash` is hex. */
export function candidateExists(
  streamId: string,
  number: bigint,
  hash: string,
): StreamStorageError {
  return fault(
    "ALREADY_EXISTS",
    "candidate_exists",
    `Stream ${streamId} already has candidate ${hash} for miniblock ${number}`,
    { streamId, candidateMiniblock: number, hash },
  );
}

/** `NOT_FOUND`, `candidate_not_found`; `hash` is hex. */
export function candidateNotFound(
  streamId: string,
  number: bigint,
  hash: string,
): StreamStorageError {
  return fault(
    "NOT_FOUND",
    "candidate_not_found",
    `Stream ${streamId} has no candidate ${hash} for miniblock ${number}`,
    { streamId, candidateMiniblock: number, hash },
  );
}

/** `miniblock_gap`: the number due next, and the one that is stored. */
export function miniblockGap(
  code: "MINIBLOCKS_NOT_FOUND" | "MINIBLOCKS_STORAGE_FAILURE",
  streamId: string,
  expected: bigint,
  actual: bigint,
): StreamStorageError {
  return fault(
    code,
    "miniblock_gap",
    `Stream ${streamId} lacks miniblock ${expected}; the next stored one is ` +
      `${actual}`,
    { streamId, expected, actual },
  );
}

/** `INTERNAL`, `snapshot_outside_last_run`: no snapshot, or a gap after it. */
export function snapshotOutsideLastRun(
  streamId: string,
  latestSnapshot: bigint,
  lastMiniblockInStorage: bigint,
): StreamStorageError {
  return fault(
    "INTERNAL",
    "snapshot_outside_last_run",
    `Stream ${streamId} must have its latest snapshot ${latestSnapshot} in ` +
      `the run of miniblocks that ends at ${lastMiniblockInStorage}`,
    { streamId, latestSnapshot, lastMiniblockInStorage },
  );
}

/** `INVALID_ARGUMENT`, `not_below_last`: the blocks do not precede it. */
export function precedingNotBelowLast(
  streamId: string,
  given: bigint,
  lastMiniblockInStorage: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "miniblocks",
    reason: "not_below_last",
    rule: `must end below the last stored miniblock ${lastMiniblockInStorage}`,
    received: given,
    details: {
      streamId,
      expected: given,
      actual: lastMiniblockInStorage,
      lastMiniblockInStorage,
    },
  });
}

/** `INVALID_ARGUMENT`, `snapshot_before_latest`: it must never decrease. */
export function snapshotBeforeLatest(
  streamId: string,
  given: bigint,
  latestSnapshot: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "lastSnapshotMiniblockNum",
    reason: "snapshot_before_latest",
    rule: `must not be below the latest snapshot ${latestSnapshot}`,
    received: given,
    details: { streamId, expected: given, actual: latestSnapshot },
  });
}

/** `INVALID_ARGUMENT`, `not_above_last`: a rebuild must extend the stream. */
export function rebuildNotAboveLast(
  streamId: string,
  given: bigint,
  lastMiniblockInStorage: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "miniblocks",
    reason: "not_above_last",
    rule: `must end above the last stored miniblock ${lastMiniblockInStorage}`,
    received: given,
    details: {
      streamId,
      expected: given,
      actual: lastMiniblockInStorage,
      lastMiniblockInStorage,
    },
  });
}

/**
 * `INVALID_ARGUMENT`, `snapshot_not_storable`: the stored block at the snapshot
 * has no snapshot, and the given block has one only inside its data.
 */
export function snapshotNotStorable(
  streamId: string,
  number: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "lastSnapshotMiniblockNum",
    reason: "snapshot_not_storable",
    rule: "names a stored miniblock without a snapshot, " +
      "to which only a snapshot beside its data can be added",
    received: number,
    details: { streamId, miniblock: number },
  });
}

/** `DB_OPERATION_FAILURE`, `archive_position_mismatch`. */
export function archivePositionMismatch(
  streamId: string,
  start: bigint,
  lastMiniblockInStorage: bigint,
): StreamStorageError {
  return fault(
    "DB_OPERATION_FAILURE",
    "archive_position_mismatch",
    `Stream ${streamId} must be archived from miniblock ` +
      `${lastMiniblockInStorage + 1n} on, received ${start}`,
    {
      streamId,
      expected: start,
      actual: lastMiniblockInStorage + 1n,
      lastMiniblockInStorage,
    },
  );
}

/** `ALREADY_EXISTS`, `miniblock_exists`. */
export function miniblockExists(
  streamId: string,
  number: bigint,
): StreamStorageError {
  return fault(
    "ALREADY_EXISTS",
    "miniblock_exists",
    `Stream ${streamId} already has miniblock ${number}`,
    { streamId, miniblock: number },
  );
}

/** `NOT_FOUND`, `no_genesis`: block 0 is not stored. */
export function noGenesis(streamId: string): StreamStorageError {
  return fault(
    "NOT_FOUND",
    "no_genesis",
    `Stream ${streamId} has no miniblock 0`,
    { streamId },
  );
}

/** `INTERNAL`, `not_media_inception`: block 0 does not start a media stream. */
export function notMediaInception(streamId: string): StreamStorageError {
  return fault(
    "INTERNAL",
    "not_media_inception",
    `Stream ${streamId} must start with a media inception and a header`,
    { streamId },
  );
}

/** `INTERNAL`, `chunk_count_mismatch`: chunks and last block disagree. */
export function chunkCountMismatch(
  streamId: string,
  expected: bigint,
  actual: bigint,
): StreamStorageError {
  return fault(
    "INTERNAL",
    "chunk_count_mismatch",
    `Stream ${streamId} must end at miniblock ${expected}, but the last ` +
      `stored one is ${actual}`,
    { streamId, expected, actual },
  );
}

/** `INVALID_ARGUMENT`, `above_latest_snapshot`: it would cut the stream. */
export function trimAboveSnapshot(
  streamId: string,
  given: bigint,
  latestSnapshot: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "trimToMbExclusive",
    reason: "above_latest_snapshot",
    rule: `must not be above the latest snapshot ${latestSnapshot}`,
    received: given,
    details: { streamId, expected: given, actual: latestSnapshot },
  });
}

/** `INVALID_ARGUMENT`, `latest_snapshot_protected`. */
export function latestSnapshotProtected(
  streamId: string,
  latestSnapshot: bigint,
): StreamStorageError {
  return invalidArgument({
    argument: "nullifySnapshotMbs",
    reason: "latest_snapshot_protected",
    rule: "must not hold the number of the latest snapshot",
    received: latestSnapshot,
    details: { streamId, actual: latestSnapshot },
  });
}
