import type { Result } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { BatchedWrite } from "./queued_write.ts";

/** Streams whose tables an outside session has locked. */
export interface QueueLocks {
  /** Since when, in the time of `performance.now()`; undefined: not at all. */
  since(streamId: StreamId): number | undefined;
  /** Asks the server which tables are locked. */
  look(): Promise<void>;
  /** Calls `listener` when `since` returns another value than before. */
  onChange(listener: () => void): void;
}

/** What a `WriteQueue` needs: its bounds, and how a batch is run. */
export interface WriteQueueOptions {
  /** Transactions in flight at most. */
  slots: number;
  /** Slots for background writes, in addition to these; default 0. */
  backgroundSlots?: number;
  /**
   * Shared transactions in flight at most. A second one keeps the server busy
   * while the first waits for the disk. More would make each batch smaller, and
   * more connections would prepare the same statements.
   */
  sharedSlots: number;
  /** Divides the streams among shared transactions, if many are ready. */
  groupOf?: (streamId: StreamId) => number;
  /**
   * If fewer streams are ready, they share one transaction instead of being
   * divided among the free slots.
   */
  minDivided: number;
  /** Writes and bytes of one shared transaction at most. */
  maxShared: number;
  maxSharedBytes: number;
  /** Waiting writes and bytes at most. */
  maxWaiting: number;
  maxWaitingBytes: number;
  /** Milliseconds that a write waits at most. */
  maxWaitMs: number;
  /**
   * Milliseconds, within `maxWaitMs`, that a write waits while another session
   * holds the lock of its stream or of a table.
   */
  maxLockWaitMs: number;
  locks: QueueLocks;
  /**
   * Runs the writes in one transaction under the locks of their streams, until
   * `deadline` in the time of `performance.now()`. After an error, the queue
   * runs each write alone.
   */
  runBatch(
    writes: readonly BatchedWrite[],
    deadline: number,
  ): Promise<readonly Result[]>;
  /** Whether the writes may have been committed in spite of the error. */
  isUnknown(error: unknown): boolean;
  /** Whether the error says that another session holds a lock. */
  isLocked(error: unknown): boolean;
}
