import type { Result } from "../database/statement.ts";
import type { LoadedWrite } from "./queued_write.ts";

/** The bounds of a `WriteQueue`. */
export interface WriteQueueOptions {
  /** Transactions under way at most. */
  lanes: number;
  /** Beside them, transactions of background writes; default 0. */
  backgroundLanes?: number;
  /**
   * Shared transactions under way at most. Few are enough to keep the server
   * busy while another waits for the disk; more would make each smaller, and
   * let more connections prepare the same statements.
   */
  sharedLanes: number;
  /** Fewer lines than this go in one shared transaction after another. */
  minDivided: number;
  /** Writes and bytes of one shared transaction at most. */
  maxShared: number;
  maxSharedBytes: number;
  /** Waiting writes and bytes at most. */
  maxWaiting: number;
  maxWaitingBytes: number;
  /** Milliseconds that a write waits at most. */
  maxWaitMs: number;
  /** Milliseconds that it tries for its stream's lock, of these, at most. */
  maxLockWaitMs: number;
  /**
   * Runs the writes as one transaction under the locks of their streams, until
   * `latest` in the time of `performance.now()`; an error makes each write run
   * alone.
   */
  runShared(
    writes: readonly LoadedWrite[],
    latest: number,
  ): Promise<readonly Result[]>;
  /** Whether the error leaves open if the writes were committed. */
  isUnknown(error: unknown): boolean;
  /** Whether the error says that somebody else holds a lock. */
  isLocked(error: unknown): boolean;
}
