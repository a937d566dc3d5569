/** The write queue's refusals; nothing of the refused write was sent. */
import { StreamStorageError } from "../../storage/errors.ts";

/** `RESOURCE_EXHAUSTED`, `write_queue_full`: too many writes or bytes wait. */
export function queueFull(
  { maxWaiting, maxWaitingBytes }: {
    maxWaiting: number;
    maxWaitingBytes: number;
  },
  figures: { waiting: number; waitingBytes: number },
): StreamStorageError {
  return new StreamStorageError({
    code: "RESOURCE_EXHAUSTED",
    message: `Too many writes are waiting: expected fewer than ` +
      `${maxWaiting}, of at most ${maxWaitingBytes} bytes`,
    details: { reason: "write_queue_full", ...figures },
    retryable: true,
  });
}

/**
 * `DEADLINE_EXCEEDED`, `queue_timeout`: the write was not started in time.
 * `unknown`: an earlier attempt may have been committed.
 */
export function queueTimeout(
  maxWaitMs: number,
  unknown = false,
): StreamStorageError {
  return new StreamStorageError({
    code: "DEADLINE_EXCEEDED",
    message: `Write was not started within ${maxWaitMs} ms`,
    details: { reason: "queue_timeout", waitedMs: maxWaitMs },
    retryable: true,
    outcome: unknown ? "unknown" : "rolled_back",
  });
}

/**
 * `DEADLINE_EXCEEDED`, `lock_timeout`: another session has locked the stream's
 * tables. `unknown`: an earlier attempt may have been committed.
 */
export function lockTimeout(
  waitedMs: number,
  unknown = false,
): StreamStorageError {
  return new StreamStorageError({
    code: "DEADLINE_EXCEEDED",
    message:
      "Another session has locked the stream's tables, and the write has " +
      `waited for ${waitedMs} ms`,
    details: { reason: "lock_timeout", waitedMs },
    retryable: true,
    outcome: unknown ? "unknown" : "rolled_back",
  });
}
