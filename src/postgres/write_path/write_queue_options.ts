import type { Result } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { BatchedWrite } from "./queued_write.ts";

/** Which streams' tables an outside session has locked; see locked_partitions.ts. */
export interface QueueLocks {
  /** Since when, in the time of `performance.now()`; undefined: not at all. */
  since(streamId: StreamId): number | undefined;
  /** Finds out. */
  look(): Promise<void>;
  /** Calls back when `since` tells another thing than before. */
  onChange(listener: () => void): void;
}

/** The bounds of a `WriteQueue`. */
export interface WriteQueueOptions {
  /** Transactions in flight at most. */
  slots: number;
  /** Beside them, transactions of background writes; default 0. */
  backgroundSlots?: number;
  /**
   * Shared transactions in flight at most. Few are enough to keep the server
   * busy while another waits for the disk; more would make each smaller, and
   * let more connections prepare the same statements.
   */
  sharedSlots: number;
  /** Fewer ready streams than this go in one shared transaction after another. */
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
   * Runs the writes as one transaction under the locks of their streams, until
   * `deadline` in the time of `performance.now()`; an error makes each write run
   * alone.
   */
  runBatch(
    writes: readonly BatchedWrite[],
    deadline: number,
  ): Promise<readonly Result[]>;
  /** Whether the error leaves open if the writes were committed. */
  isUnknown(error: unknown): boolean;
  /** Whether the error says that another session holds a lock. */
  isLocked(error: unknown): boolean;
}
