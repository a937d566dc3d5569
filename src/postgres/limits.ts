/** How much a store does at a time, and how long it lets others wait. */

/** Transactions in flight at a time; more would make each smaller. */
export const maxSlots = 4;

/** Flushes on one connection that may wait for each other, for reads. */
export const readDepth = 4;

/** Calls that wait for a session of a pool at most. */
export const maxPoolWaiting = 10_000;

/**
 * A read waits for nothing but a locked table, and up to three others wait behind
 * it on its connection.
 */
export const readLockTimeoutMs = 100;

/** Operation timeouts for which a primary is waited for, with several hosts. */
export const reachFactor = 4;

/** A migration may take longer than an operation. */
export const migrationAnswerMs = 600_000;

/**
 * A frozen owner, or one whose network is gone, is replaced after this time. An
 * owner that only works hard, or is debugged, is not silent for so long as a rule.
 */
export const leaseMs = 15_000;

/** Of the queue of writes; see write_queue_options.ts. */
export const queueBounds = {
  sharedSlots: 2,
  minDivided: 32,
  maxShared: 256,
  maxSharedBytes: 1024 * 1024,
  maxWaiting: 50_000,
  maxWaitingBytes: 256 * 1024 * 1024,
};
