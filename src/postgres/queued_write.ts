import type { Bound, Result } from "../database/statement.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { MinipoolEnd } from "./known_minipools.ts";

/** A write as a statement among others of its transaction. */
export interface BoundWrite {
  /** Does nothing, rather than fail, where its own rules forbid it. */
  bound: Bound;
  /** How the stream's minipool ends once the statement has counted 1. */
  end?: MinipoolEnd;
  /** The minipool must be as it is known: the statement does not ask. */
  trusts?: boolean;
  /**
   * Of a creation: the same behind the statement that adds the rows of all new
   * streams of the transaction, `insertNewStreams`. Where its rules forbid it,
   * it stops the transaction.
   */
  behindRow?: () => Bound;
}

/**
 * What the statement of a {@linkcode BoundWrite} counts: an insert its rows, any
 * other tells it in its first column.
 */
export function countOf({ rows, count }: Result): number {
  return rows.length === 0 ? count : Number(rows[0]![0]);
}

/** A write that may share a transaction with others. */
export interface SharedWrite {
  /**
   * Its statement, when its transaction is put together. `known` is how the
   * stream's minipool will end then, if that is known.
   */
  bind(known: MinipoolEnd | undefined): BoundWrite;
  /** Whether the statement did the write. */
  isDone(result: Result): boolean;
  /**
   * The statement did nothing: settles the write in another way. `later` tells
   * how many later writes of the stream were done by the same transaction;
   * `unknown` that this was tried before and the answer was lost.
   */
  explain(later: number, unknown: boolean): Promise<unknown>;
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
  /** When it was asked for, in the time of `performance.now()`; default now. */
  since?: number | undefined;
  /** Runs it as a transaction of its own, with retries. */
  runAlone(afterUnknown: boolean): Promise<T>;
  /** Absent: always a transaction of its own. */
  shared?: SharedWrite | undefined;
  /** Nobody waits for it: it takes a lane of those that callers never take. */
  background?: boolean;
  signal?: AbortSignal | undefined;
}

/** A write of a load that shares a transaction. */
export interface LoadedWrite {
  streamId: StreamId;
  shared: SharedWrite;
}
