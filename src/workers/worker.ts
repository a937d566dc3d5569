import type { StreamId } from "../storage/stream_id.ts";

/** What a run of a worker has done. */
export interface WorkerReport {
  /** Streams that were dealt with. */
  done: number;
  /** Streams that failed and are tried again by a later run. */
  failed: number;
  /** The first of them, and why. */
  firstFailure?: { streamId: StreamId; code: string; reason: string };
  /** There is more to do than a run takes: another one follows at once. */
  more: boolean;
}

/**
 * Work in the background.
 *
 * `runOnce` finds its work by a query, takes a bounded part of it, and keeps
 * what it must remember in tables, so that a restart neither loses nor renews
 * anything. Done twice, it must be as if done once. When the signal aborts it
 * ends soon, with the signal's reason, at a point where all is consistent.
 */
export interface Worker<R extends WorkerReport = WorkerReport> {
  /** A snake_case word for logs and metrics. */
  readonly name: string;
  runOnce(signal: AbortSignal): Promise<R>;
}
