import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";

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
}

/** The work of the background, now and for a caller who waits for it. */
export interface StreamMaintenance {
  /**
   * Removes the uploads that were not completed in time, as the sweeper does
   * every `ephemeralSweepIntervalMs`. It waits for a sweep that is under way.
   *
   * Errors: `INVALID_ARGUMENT`, `FAILED_PRECONDITION` (closed), `CANCELED`,
   * `RESOURCE_EXHAUSTED` (ownership), those of the database.
   */
  sweepEphemeralStreams(options?: SweepOptions): Promise<SweepReport>;
  /** How each worker that runs in the background is doing. */
  workers(): WorkerStatus[];
}
