import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Setting } from "./setting.ts";
import type { TrimmingOptions } from "./trimming_options.ts";

/** How `sweepEphemeralStreams` differs from a run in the background. */
export interface SweepOptions extends OperationOptions {
  /** Milliseconds instead of `ephemeralTtlMs`; 0 takes every upload. */
  ttlMs?: number;
  /** Only reports what would be removed. Default false. */
  dryRun?: boolean;
}

/** A stream with which a worker has failed. */
export interface FailedStream {
  /** The stream. */
  streamId: StreamId;
  /** The code of the error. */
  code: string;
  /** The error's reason, a stable word. */
  reason: string;
}

/** What `sweepEphemeralStreams` has done. */
export interface SweepReport {
  /** Whether this was a dry run. */
  dryRun: boolean;
  /** The number of uploads removed, or that would be. */
  removed: number;
  /** The first 1000 of them, ascending. */
  streamIds: StreamId[];
  /** Uploads without an age, created by a node: their age starts now. */
  firstSeen: number;
  /** Uploads that failed; the next run tries them again. */
  failures: FailedStream[];
}

/** What `trimStreams` is to do. */
export interface TrimStreamsOptions extends OperationOptions {
  /** Only this stream. Default: all. */
  streamId?: StreamId;
  /** Only reports what would be removed. Default false. */
  dryRun?: boolean;
}

/** A stream that was trimmed, or would be. */
export interface TrimmedStream {
  /** The stream. */
  streamId: StreamId;
  /** Blocks below this one were removed; absent: none. */
  trimToMbExclusive?: bigint;
  /** The number of blocks removed. */
  miniblocks: number;
  /** The number of snapshots cleared, apart from those of removed blocks. */
  snapshots: number;
  /** The first 1000 blocks whose snapshots were cleared. */
  nullifySnapshotMbs: bigint[];
  /** The bytes of the blocks removed and the snapshots cleared. */
  bytes: bigint;
}

/** A stream that is not trimmed, because it is not as it should be. */
export interface TrimRefusal {
  /** The stream. */
  streamId: StreamId;
  /**
   * `unexpected_gap`: its blocks are more than one run, and not just a genesis
   * before one run. `latest_snapshot_missing`: the latest snapshot is not
   * stored, or not in the run. Only if the call names the stream:
   * `ephemeral_stream`, `stored_externally`, `archive_stream`.
   */
  reason: string;
}

/** What `trimStreams` has done. */
export interface TrimReport {
  /** Whether this was a dry run. */
  dryRun: boolean;
  /** The number of streams looked at. */
  streams: number;
  /** The number of streams trimmed. */
  trimmed: number;
  /** The number of blocks removed, of all streams. */
  miniblocks: number;
  /** The number of snapshots cleared, of all streams. */
  snapshots: number;
  /** The bytes removed or cleared, of all streams. */
  bytes: bigint;
  /** The first 1000 trimmed streams, ascending. */
  trimmedStreams: TrimmedStream[];
  /** The first 1000 refused streams. */
  refusals: TrimRefusal[];
  /** Streams that failed; the next run tries them again. */
  failures: FailedStream[];
}

/** How `offloadMedia` differs from a run in the background. */
export interface OffloadMediaOptions extends OperationOptions {
  /**
   * Moves only this stream, even if it was set aside, brought back on purpose,
   * or is not known to be complete.
   */
  streamId?: StreamId;
}

/** What `offloadMedia` has done. */
export interface OffloadMediaReport {
  /** The number of streams moved into object storage. */
  offloaded: number;
  /** The first 1000 of them. */
  streamIds: StreamId[];
  /** The bytes of their blocks. */
  bytes: number;
  /** The number of deleted streams' objects that were deleted. */
  deletedObjects: number;
  /** Streams that failed or can't be moved; they are set aside for a time. */
  failures: FailedStream[];
}

/** What `rehydrateMedia` has done. */
export interface RehydrateMediaReport {
  /** False if the stream was in the database already. */
  rehydrated: boolean;
  /** The number of blocks brought back. */
  blocks: number;
  /** The bytes of these blocks. */
  bytes: number;
}

/** How `reconcileMedia` compares, and what it may delete. */
export interface ReconcileMediaOptions extends OperationOptions {
  /** Only reports what would be deleted. Default false. */
  dryRun?: boolean;
  /**
   * Milliseconds. Unused objects younger than this stay, because another
   * process may be about to use them. Default one hour.
   */
  minAgeMs?: number;
  /**
   * Deletes unused objects only if there are at most so many. Default: 10, or a
   * tenth of all objects if that is more, and none if the database does not
   * seem to be theirs.
   */
  maxDeleted?: number;
}

/** What `reconcileMedia` has found and done. */
export interface ReconcileMediaReport {
  /** Whether this was a dry run. */
  dryRun: boolean;
  /** The number of objects under this schema's name. */
  objects: number;
  /** The number of streams with their blocks in this bucket. */
  streams: number;
  /** The number of objects that no stream uses: traces of crashes. */
  unused: number;
  /** The bytes of the unused objects. */
  unusedBytes: number;
  /** The names of the first 1000 unused objects. */
  unusedObjects: string[];
  /** The number of unused objects too young to be deleted. */
  young: number;
  /** The number of objects not named like ours; they are never deleted. */
  foreign: number;
  /** The number of streams whose object is missing, which can't be restored. */
  missing: number;
  /** The number of streams whose object has another size than their blocks. */
  damaged: number;
  /**
   * The number of streams with blocks in the database as well, from a
   * rehydration that was broken off. Those blocks are removed, unless the
   * object is missing or damaged.
   */
  inBothPlaces: number;
  /** The first 1000 streams whose object is missing or damaged. */
  brokenStreams: StreamId[];
  /** The number of unused objects deleted. */
  deleted: number;
  /**
   * Why no object was deleted: too many are unused; or no stream uses the
   * bucket, or the objects of many streams are missing.
   */
  refused?: "too_many_unused" | "database_does_not_fit";
}

/** How a background worker is doing. */
export interface WorkerStatus {
  /** Its name: `ephemeral_sweeper` and others. */
  name: string;
  /** Whether a run is in progress. */
  running: boolean;
  /** `open` after failures in a row: it runs less often until one succeeds. */
  circuit: "closed" | "open";
  /** Runs since the store was opened. */
  runs: number;
  /** The number of failures since the last success. */
  failuresInARow: number;
  /** Streams that the last successful run has dealt with, or failed with. */
  lastRun?: { done: number; failed: number };
}

/**
 * The background work: how it is doing, and calls that run it and wait for it.
 *
 * @example What trimming would remove.
 * ```ts
 * const { trimmed, bytes } = await storage.maintenance
 *   .trimStreams({ dryRun: true });
 * console.log(trimmed, bytes); // 0 0n
 * ```
 */
export interface StreamMaintenance {
  /**
   * Removes the uploads that were not completed in time, as the sweeper does
   * every `ephemeralSweepIntervalMs`. Waits for a sweep that is in progress.
   *
   * Errors: `INVALID_ARGUMENT`, `FAILED_PRECONDITION` (closed), `CANCELED`,
   * `RESOURCE_EXHAUSTED` (ownership), those of the database.
   */
  sweepEphemeralStreams(options?: SweepOptions): Promise<SweepReport>;
  /**
   * Trims all streams, or one, by the option `trimming`, however many snapshots
   * were written since they were trimmed last. Waits for a run of the trimmer
   * that is in progress.
   *
   * Errors: those of `sweepEphemeralStreams`; for one stream `NOT_FOUND`.
   */
  trimStreams(options?: TrimStreamsOptions): Promise<TrimReport>;
  /**
   * Replaces the whole option `trimming`, defaults included, by a value or by a
   * function. Targets take effect at once. The new value lasts until the store
   * is closed. Once the promise resolves, the old value cuts nothing any more:
   * a trimming in progress, also by `trimStreams`, has ended with the stream
   * that it was at.
   *
   * Errors: `BAD_CONFIG`, as when the store is opened.
   */
  updateTrimming(trimming: Setting<TrimmingOptions>): Promise<void>;
  /**
   * Moves the blocks of media streams into object storage, as the offloader
   * does: newly sealed streams, and existing ones with `migrateExisting`.
   *
   * Errors: `FAILED_PRECONDITION` without `mediaStorage`; for a single stream
   * those of the stream; for many, what made several in a row fail.
   */
  offloadMedia(options?: OffloadMediaOptions): Promise<OffloadMediaReport>;
  /**
   * Brings the blocks of a stream back into the database, deletes its object,
   * and keeps the stream there until `offloadMedia` is called for it.
   *
   * Errors: `NOT_FOUND`; `FAILED_PRECONDITION` when its storage is not
   * configured; `MINIBLOCKS_NOT_FOUND`, `DOWNSTREAM_NETWORK_ERROR`.
   */
  rehydrateMedia(
    streamId: StreamId,
    options?: OperationOptions,
  ): Promise<RehydrateMediaReport>;
  /**
   * Compares bucket and database both ways, and deletes, within bounds, objects
   * that no stream refers to.
   */
  reconcileMedia(
    options?: ReconcileMediaOptions,
  ): Promise<ReconcileMediaReport>;
  /** How each background worker is doing. */
  workers(): WorkerStatus[];
}
