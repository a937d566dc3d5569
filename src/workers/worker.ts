import type { StreamId } from "../storage/stream_id.ts";

/** What a run of a worker has done. */
export interface WorkerReport {
  /** Streams that were dealt with. */
  done: number;
  /** Streams that failed; a later run tries them again. */
  failed: number;
  /** The first failure. */
  firstFailure?: { streamId: StreamId; code: string; reason: string };
  /** A run's limit was reached: the next run follows at once. */
  more: boolean;
}

/**
 * Work in the background.
 *
 * `runOnce` finds its work by a query, takes a bounded part of it, and keeps
 * its state in tables, so that a restart neither loses nor repeats work. Work
 * done twice must have the effect of work done once. After the signal's abort
 * `runOnce` soon ends with the signal's reason, at a point where everything is
 * consistent.
 */
export interface Worker<R extends WorkerReport = WorkerReport> {
  /** A snake_case word for logs and metrics. */
  readonly name: string;
  runOnce(signal: AbortSignal): Promise<R>;
}
