/**
 * Names that are known in advance. A series that exists at 0 shows its first
 * event as an increase; a series that begins with the event shows none.
 */

import type { StreamStorageErrorCode } from "../storage/errors.ts";

/** Reads of a store on PostgreSQL beside those of every store. */
export const postgresReads = ["totalMiniblockDataSizeInDB"] as const;

/** The calls of `storage.maintenance` that run transactions. */
export const maintenanceCalls = [
  "offloadMedia",
  "reconcileMedia",
  "rehydrateMedia",
  "sweepEphemeralStreams",
  "trimStreams",
] as const;

/** Transactions outside of calls: of workers, and of the write queue. */
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

/** Why a connection of a pool ends before its pool. */
export const connectionEnds = [
  /** It was idle for long. */
  "idle",
  /** Pools share a limit of connections, and another one needs it more. */
  "spare",
  /** The server refused a connection to another pool. */
  "refused",
  /** The schema was moved to another server of the cluster. */
  "moved",
  /** It broke, was given up, or is no longer usable. */
  "lost",
] as const;

/** See {@linkcode connectionEnds}. */
export type ConnectionEnd = typeof connectionEnds[number];

/** The kinds of calls to object storage (media/object_store.ts). */
export const objectStorageActions = [
  "write",
  "look",
  "read",
  "delete",
  "list",
] as const;

/** The offloader's tasks for media streams (postgres/sql/media_tasks.ts). */
export const mediaTasks = ["offload", "delete"] as const;
