import type { Bound, Result } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { MinipoolEnd } from "./minipool_cache.ts";

/** A write as one statement of a batch's transaction. */
export interface BoundWrite {
  /**
   * Counts 1 (`countOf`) if it has done the write. If the write's rules
   * forbid that, it changes nothing and does not fail.
   */
  bound: Bound;
  /** How the stream's minipool ends once the statement has counted 1. */
  end?: MinipoolEnd;
  /**
   * The statement reads nothing first, so it is valid only if the minipool ends
   * as the cache says.
   */
  isUnchecked?: boolean;
}

/**
 * The number of rows that the statement of a {@linkcode BoundWrite} has
 * changed. An insert counts its rows; any other statement returns the number in
 * its first column.
 */
export function countOf({ rows, count }: Result): number {
  return rows.length === 0 ? count : Number(rows[0]![0]);
}

/** A write that may share a transaction with others. */
export interface SharedWrite {
  /**
   * Makes the statement, when the batch is put together. `cached` is how the
   * stream's minipool will end at that point, if that is known.
   */
  bind(cached: MinipoolEnd | undefined): BoundWrite;
  /** Receives the statement's row, once the write is done and committed. */
  done?(row: readonly unknown[]): void;
  /**
   * Settles a write whose statement changed nothing. `later` is the number of
   * later writes of the stream that the same transaction did.
   */
  explain(later: number): Promise<unknown>;
  /**
   * The transaction may hold no other write of the stream, because a second one
   * would hide what this write did, or why its statement changed nothing.
   */
  isSingle: boolean;
}

/** A write of one stream. */
export interface Write<T = unknown> {
  streamId: StreamId;
  /** Payload bytes, for the bounds of the queue. */
  bytes: number;
  /** When it was made, in the time of `performance.now()`; default now. */
  submittedAt?: number | undefined;
  /**
   * Runs the write in a transaction of its own, with retries. `isInDoubt`: a
   * batch that included the write has lost its answer.
   */
  runAlone(isInDoubt: boolean): Promise<T>;
  /** Makes the write shareable; without it, the write always runs alone. */
  shared?: SharedWrite | undefined;
  /** No caller waits for the write: it takes one of the background slots. */
  background?: boolean;
  signal?: AbortSignal | undefined;
}

/** A shareable write, in a batch. */
export interface BatchedWrite {
  streamId: StreamId;
  shared: SharedWrite;
}
