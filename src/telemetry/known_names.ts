/**
 * What is known before anything happens: a series that is there at 0 shows its
 * first event as an increase, one that begins with it shows none.
 */

import type { StreamStorageErrorCode } from "../storage/errors.ts";

/** The calls that read. */
export const readCalls = [
  "debugReadStreamData",
  "debugReadStreamStatistics",
  "getLastMiniblockNumber",
  "getMaxArchivedMiniblockNumber",
  "getMiniblockCandidateCount",
  "getMiniblockNumberRanges",
  "getStreams",
  "getStreamsNumber",
  "isStreamEphemeral",
  "readEphemeralMiniblockNums",
  "readMiniblockCandidate",
  "readMiniblocks",
  "readStreamFromLastSnapshot",
  "streamMiniblocks",
  "streamMiniblocksStoredLocation",
  "totalMiniblockDataSizeInDB",
] as const;

/** The calls that only a store has. */
export const writeCalls = [
  "createEphemeralStreamStorage",
  "createStreamArchiveStorage",
  "createStreamStorage",
  "debugDeleteMiniblocks",
  "deleteStream",
  "normalizeEphemeralStream",
  "reinitializeStreamStorage",
  "trimStream",
  "writeArchiveMiniblocks",
  "writeEphemeralMiniblock",
  "writeEvent",
  "writeMiniblockCandidate",
  "writeMiniblocks",
  "writePrecedingMiniblocks",
] as const;

/** The calls of `storage.maintenance` that have transactions. */
export const maintenanceCalls = [
  "offloadMedia",
  "reconcileMedia",
  "rehydrateMedia",
  "sweepEphemeralStreams",
  "trimStreams",
] as const;

/** Transactions of no call: workers', and batches of the write queue. */
export const otherTransactions = [
  "countStreams",
  "removeStreams",
  "sharedWrites",
] as const;

/** The codes of errors. */
export const errorCodes = Object.keys(
  {
    INVALID_ARGUMENT: 0,
    BAD_STREAM_ID: 0,
    NOT_FOUND: 0,
    ALREADY_EXISTS: 0,
    FAILED_PRECONDITION: 0,
    INTERNAL: 0,
    DB_OPERATION_FAILURE: 0,
    MINIBLOCKS_STORAGE_FAILURE: 0,
    MINIBLOCKS_NOT_FOUND: 0,
    RESOURCE_EXHAUSTED: 0,
    BAD_CONFIG: 0,
    DOWNSTREAM_NETWORK_ERROR: 0,
    CANCELED: 0,
    DEADLINE_EXCEEDED: 0,
    UNAVAILABLE: 0,
  } satisfies Record<StreamStorageErrorCode, 0>,
);

/** Why a connection of a pool ends before the pool does. */
export const connectionEnds = [
  /** It had nothing to do for long. */
  "idle",
  /** Other pools share the bound on connections, and one needs it more. */
  "spare",
  /** The server refused one to another pool. */
  "refused",
  /** It broke, was given up, or is of no more use. */
  "lost",
] as const;

/** See {@linkcode connectionEnds}. */
export type ConnectionEnd = typeof connectionEnds[number];

/** What is done with object storage (media/object_store.ts). */
export const objectStorageActions = [
  "write",
  "look",
  "read",
  "delete",
  "list",
] as const;

/** What the offloader does with media streams (postgres/sql/media_tasks.ts). */
export const mediaTasks = ["offload", "delete"] as const;
