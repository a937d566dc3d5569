import type { Bound, Result } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { MinipoolEnd } from "./minipool_cache.ts";

/** A write as a statement among others of its transaction. */
export interface BoundWrite {
  /** Does nothing, rather than fail, where its own rules forbid it. */
  bound: Bound;
  /** How the stream's minipool ends once the statement has counted 1. */
  end?: MinipoolEnd;
  /** The statement asks nothing: the minipool must end as it is cached. */
  isUnchecked?: boolean;
}

/**
 * What the statement of a {@linkcode BoundWrite} counts: an insert its rows, any
 * other statement tells it in its first column.
 */
export function countOf({ rows, count }: Result): number {
  return rows.length === 0 ? count : Number(rows[0]![0]);
}

/** A write that may share a transaction with others. */
export interface SharedWrite {
  /**
   * Its statement, when its batch is put together. `cached` is how the stream's
   * minipool will end then, if that is known.
   */
  bind(cached: MinipoolEnd | undefined): BoundWrite;
  /** Whether the statement did the write. */
  isDone(result: Result): boolean;
  /**
   * The statement did nothing: settles the write in another way. `later` is the
   * number of later writes of the stream that the same transaction did.
   */
  explain(later: number): Promise<unknown>;
  /**
   * No other write of the stream may be in the same transaction: what it does,
   * or why it did nothing, could not be told from the state behind them.
   */
  isSingle: boolean;
}

/** A write of one stream. */
export interface Write<T = unknown> {
  streamId: StreamId;
  /** Size of its payload, for the bounds. */
  bytes: number;
  /** When it was made, in the time of `performance.now()`; default now. */
  submittedAt?: number | undefined;
  /**
   * Runs it as a transaction of its own, with retries. `isInDoubt`: a batch that
   * it was part of has lost its answer.
   */
  runAlone(isInDoubt: boolean): Promise<T>;
  /** Absent: always a transaction of its own. */
  shared?: SharedWrite | undefined;
  /** No caller waits for it: it takes a slot of those that callers never take. */
  background?: boolean;
  signal?: AbortSignal | undefined;
}

/** A write of a batch. */
export interface BatchedWrite {
  streamId: StreamId;
  shared: SharedWrite;
}
