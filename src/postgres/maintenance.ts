import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Setting } from "./setting.ts";
import type { TrimmingOptions } from "./trimming_options.ts";

/** How `sweepEphemeralStreams` differs from a run in the background. */
export interface SweepOptions extends OperationOptions {
  /** Milliseconds instead of `ephemeralTtlMs`; 0 takes every upload. */
  ttlMs?: number;
  /** Only tells what would go. Default false. */
  dryRun?: boolean;
}

/** A stream that a worker could not deal with. */
export interface FailedStream {
  /** The stream. */
  streamId: StreamId;
  /** The code of the error. */
  code: string;
  /** Its reason, a stable word. */
  reason: string;
}

/** What `sweepEphemeralStreams` has done. */
export interface SweepReport {
  /** Whether it only looked. */
  dryRun: boolean;
  /** Uploads that were removed, or would be. */
  removed: number;
  /** The first 1000 of them, ascending. */
  streamIds: StreamId[];
  /** Uploads without an age, made by a node: theirs starts now. */
  firstSeen: number;
  /** Uploads that failed; they are tried again by the next run. */
  failures: FailedStream[];
}

/** What `trimStreams` is to do. */
export interface TrimStreamsOptions extends OperationOptions {
  /** Only this stream. Default: all. */
  streamId?: StreamId;
  /** Only tells what would go. Default false. */
  dryRun?: boolean;
}

/** A stream of which something went, or would. */
export interface TrimmedStream {
  /** The stream. */
  streamId: StreamId;
  /** All blocks below this one; absent: none. */
  trimToMbExclusive?: bigint;
  /** Blocks that went. */
  miniblocks: number;
  /** Snapshots that were cleared, beside those that went with their blocks. */
  snapshots: number;
  /** The first 1000 blocks whose snapshots were cleared. */
  nullifySnapshotMbs: bigint[];
  /** The size of the blocks and snapshots that went. */
  bytes: bigint;
}

/** A stream that is not trimmed, because it is not as it should be. */
export interface TrimRefusal {
  /** The stream. */
  streamId: StreamId;
  /**
   * `unexpected_gap`: its blocks are more than one run, and not a genesis
   * before one. `latest_snapshot_missing`: not stored, or not in the run. Only
   * for a stream that was asked for: `ephemeral_stream`, `stored_externally`,
   * `archive_stream`.
   */
  reason: string;
}

/** What `trimStreams` has done. */
export interface TrimReport {
  /** Whether it only looked. */
  dryRun: boolean;
  /** Streams that were looked at. */
  streams: number;
  /** Streams of which something went. */
  trimmed: number;
  /** Blocks that went, of all streams. */
  miniblocks: number;
  /** Snapshots that were cleared, of all streams. */
  snapshots: number;
  /** The size of all that went. */
  bytes: bigint;
  /** The first 1000 streams of which something went, ascending. */
  trimmedStreams: TrimmedStream[];
  /** The first 1000 streams that were refused. */
  refusals: TrimRefusal[];
  /** Streams that failed; they are tried again by the next run. */
  failures: FailedStream[];
}

/** How `offloadMedia` differs from a run in the background. */
export interface OffloadMediaOptions extends OperationOptions {
  /**
   * Only this stream, even if it was set aside, brought back on purpose, or is
   * not known to be complete.
   */
  streamId?: StreamId;
}

/** What `offloadMedia` has done. */
export interface OffloadMediaReport {
  /** Streams that were moved into object storage. */
  offloaded: number;
  /** The first 1000 of them. */
  streamIds: StreamId[];
  /** The size of their blocks. */
  bytes: number;
  /** Objects of deleted streams that were deleted. */
  deletedObjects: number;
  /** Streams that failed or can't be moved; they are set aside for a while. */
  failures: FailedStream[];
}

/** What `rehydrateMedia` has done. */
export interface RehydrateMediaReport {
  /** False: the stream was in the database already. */
  rehydrated: boolean;
  /** How many blocks were brought back. */
  blocks: number;
  /** Their size. */
  bytes: number;
}

/** How `reconcileMedia` compares, and what it may delete. */
export interface ReconcileMediaOptions extends OperationOptions {
  /** Only tells what would be deleted. Default false. */
  dryRun?: boolean;
  /**
   * Milliseconds; unused objects that are younger stay, another process may be
   * about to use them. Default one hour.
   */
  minAgeMs?: number;
  /**
   * Deletes unused objects if there are at most so many. Default: 10 or a tenth
   * of all objects, and none if the database does not seem to be theirs.
   */
  maxDeleted?: number;
}

/** What `reconcileMedia` has found and done. */
export interface ReconcileMediaReport {
  /** Whether it only looked. */
  dryRun: boolean;
  /** Objects under this schema's name. */
  objects: number;
  /** Streams with their blocks in this bucket. */
  streams: number;
  /** Objects that no stream uses: traces of crashes. */
  unused: number;
  /** Their size. */
  unusedBytes: number;
  /** The first 1000 of them. */
  unusedObjects: string[];
  /** Those of them that are too young to be deleted. */
  young: number;
  /** Objects that are not named as ours are; they are never deleted. */
  foreign: number;
  /** Streams whose object is not there. Nothing can bring them back. */
  missing: number;
  /** Streams whose object has another size than their blocks. */
  damaged: number;
  /**
   * Streams of which blocks are in the database, too: a rehydration was broken
   * off. They go from there, unless the object is missing or damaged.
   */
  inBothPlaces: number;
  /** The first 1000 of those that are missing or damaged. */
  brokenStreams: StreamId[];
  /** Unused objects that were deleted. */
  deleted: number;
  /**
   * Why none was deleted: more of them than is likely, or no stream that uses
   * the bucket, or many that miss their object.
   */
  refused?: "too_many_unused" | "database_does_not_fit";
}

/** How a worker of the background is doing. */
export interface WorkerStatus {
  /** Its name: `ephemeral_sweeper` and others. */
  name: string;
  /** Whether it is at work. */
  running: boolean;
  /** `open` after failures in a row: it runs less often until one succeeds. */
  circuit: "closed" | "open";
  /** Runs since the store was opened. */
  runs: number;
  /** Failures since the last success. */
  failuresInARow: number;
  /** Streams that the last run which did not fail dealt with, and could not. */
  lastRun?: { done: number; failed: number };
}

/**
 * The work of the background, now and for a caller who waits for it.
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
   * every `ephemeralSweepIntervalMs`. It waits for a sweep that is under way.
   *
   * Errors: `INVALID_ARGUMENT`, `FAILED_PRECONDITION` (closed), `CANCELED`,
   * `RESOURCE_EXHAUSTED` (ownership), those of the database.
   */
  sweepEphemeralStreams(options?: SweepOptions): Promise<SweepReport>;
  /**
   * Trims all streams, or one, by the option `trimming`, however many snapshots
   * were written since they were trimmed last. It waits for a run of the
   * trimmer that is under way.
   *
   * Errors: those of `sweepEphemeralStreams`; for one stream `NOT_FOUND`.
   */
  trimStreams(options?: TrimStreamsOptions): Promise<TrimReport>;
  /**
   * Replaces the option `trimming` as a whole, defaults included, by a value or by
   * a function; targets are taken up at once. Lasts until the store is closed. When it resolves, nothing
   * is cut by the old one any more: a trimming that is under way, `trimStreams`
   * too, has ended with the stream that it was at.
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
   * Compares bucket and database both ways, and deletes objects that nothing
   * refers to, within bounds.
   */
  reconcileMedia(
    options?: ReconcileMediaOptions,
  ): Promise<ReconcileMediaReport>;
  /** How each worker that runs in the background is doing. */
  workers(): WorkerStatus[];
}
