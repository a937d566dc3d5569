/** How much a store does at a time, and how long it waits. */

/** Transactions in flight at a time; more would make each batch smaller. */
export const maxSlots = 4;

/** Reads that one connection sends before the first of them has its answer. */
export const readDepth = 4;

/** Calls that wait for a session of a pool at most. */
export const maxPoolWaiting = 10_000;

/**
 * A read waits for nothing except a locked table, and up to three others wait
 * behind it on its connection.
 */
export const readLockTimeoutMs = 100;

/** Operation timeouts that a store with several hosts waits for a primary. */
export const reachFactor = 4;

/**
 * What the server may keep prepared for a store; see prepared_budget.ts. With
 * all 256 partitions and all kinds of calls, a store with 10 connections then
 * takes less than 150 MiB of the server's memory, of which 87 are not for
 * plans.
 */
export const maxPreparedBytes = 32 * 1024 * 1024;

/** A migration may take longer than an operation. */
export const migrationAnswerMs = 600_000;

/**
 * How long an owner may be silent before it can be replaced. An owner that is
 * frozen or cut off stays silent; one that works hard, or is debugged, is
 * rarely silent for so long.
 */
export const leaseMs = 15_000;

/** The bounds of the queue of writes; see write_queue_options.ts. */
export const queueBounds = {
  sharedSlots: 2,
  minDivided: 32,
  maxShared: 256,
  maxSharedBytes: 1024 * 1024,
  maxWaiting: 50_000,
  maxWaitingBytes: 256 * 1024 * 1024,
};
