/** How long a write may wait, and the error when it has waited longer. */

import type { Task } from "./stream_queues.ts";
import { lockTimeout, queueTimeout } from "./write_queue_errors.ts";
import type { WriteQueueOptions } from "./write_queue_options.ts";

/** The options of a queue that decide it. */
type Limits = Pick<WriteQueueOptions, "maxWaitMs" | "maxLockWaitMs" | "locks">;

/** Whether a table of the write's partition is locked. */
export function isTableLocked({ locks }: Limits, { write }: Task): boolean {
  return locks.since(write.streamId) !== undefined;
}

/** The point in time until which a write may wait. */
export function dueOf(
  { maxWaitMs, maxLockWaitMs, locks }: Limits,
  { submittedAt, write: { streamId } }: Task,
): number {
  const lockedSince = locks.since(streamId) ?? Infinity;
  return Math.min(
    submittedAt + maxWaitMs,
    Math.max(submittedAt, lockedSince) + maxLockWaitMs,
  );
}

/** The error of a write that has waited too long. */
export function late(limits: Limits, task: Task): unknown {
  const { submittedAt, isInDoubt } = task;
  const waitedMs = Math.round(performance.now() - submittedAt);
  return isTableLocked(limits, task)
    ? lockTimeout(waitedMs, isInDoubt)
    : queueTimeout(limits.maxWaitMs, isInDoubt);
}
