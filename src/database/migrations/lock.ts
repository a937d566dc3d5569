/**
 * Allows one migration run at a time per schema.
 *
 * The lock belongs to the session: when the connection breaks, the server rolls
 * back the open transaction and then releases the lock. It is a lock of two
 * 32-bit keys, which PostgreSQL keeps apart from locks of one 64-bit key, so it
 * can't collide with the ownership lock of any schema.
 */

import { setTimeout as delay } from "node:timers/promises";
import { schemaLockId } from "../../storage/stream_id.ts";
import type { MigrationConnection } from "./connection.ts";

/** The first key, in ASCII "TSMG"; the second is from the schema's name. */
const lockClass = 0x54534d47;

/**
 * The lock is polled, not waited for in the server: a waiting statement would
 * run into statement_timeout, could not be aborted, and would hold a snapshot.
 */
const retryMs = 100;

/** The keys of the schema's migration lock, as SQL arguments. */
export function lockKeys(schema: string): string {
  return `${lockClass}, ${BigInt.asIntN(32, schemaLockId(schema))}`;
}

/**
 * Runs `body` under the schema's migration lock; waits for the lock as long as
 * it takes.
 *
 * @throws the signal's reason when it aborts the wait.
 */
export async function withMigrationLock<T>(
  connection: MigrationConnection,
  schema: string,
  body: () => Promise<T>,
  options: { signal?: AbortSignal | undefined; onWaiting?: () => void } = {},
): Promise<T> {
  const keys = lockKeys(schema);
  const tryLock = `SELECT pg_catalog.pg_try_advisory_lock(${keys})`;
  while ((await connection.script(tryLock))[0]?.[0] !== "t") {
    options.onWaiting?.();
    await abortableDelay(options.signal);
  }
  try {
    return await body();
  } finally {
    // Fails only if the session is gone, and the lock with it.
    await connection.script(`SELECT pg_catalog.pg_advisory_unlock(${keys})`)
      .catch(() => undefined);
  }
}

async function abortableDelay(signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  try {
    await delay(retryMs, undefined, signal && { signal });
  } finally {
    // The timer's own AbortError would hide the caller's reason.
    signal?.throwIfAborted();
  }
}
