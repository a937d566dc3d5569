import type { Bound, Result } from "../database/statement.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** A write that may share a transaction with others. */
export interface SharedWrite {
  /** Does nothing, rather than fail, where its own rules forbid it. */
  bound: Bound;
  /** Whether the statement did the write. */
  isDone(result: Result): boolean;
  /**
   * The statement did nothing: settles the write in another way. `later` tells
   * how many later writes of the stream were done by the same transaction.
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
  /** Runs it as a transaction of its own, with retries. */
  runAlone(afterUnknown: boolean): Promise<T>;
  /** Absent: always a transaction of its own. */
  shared?: SharedWrite;
  /** Nobody waits for it: it takes a lane of those that callers never take. */
  background?: boolean;
  signal?: AbortSignal | undefined;
}
