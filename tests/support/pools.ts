/** Pools of a real server for tests, and work for them. */
import assert from "node:assert/strict";
import { Pool, type PoolOptions } from "../../src/database/pool.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { testSession } from "./sessions.ts";

const processId = statement({
  text: "SELECT pg_backend_pid()",
  columns: ["int4"],
});

/** A pool, and what it has opened. */
export interface TestPool extends AsyncDisposable {
  pool: Pool;
  /** Every session that was ever opened. */
  sessions: Session[];
  /** How many connections the pool has asked for. */
  readonly attempts: number;
}

/** Makes a pool of at most two sessions on the tests' server. */
export function testPool(options: Partial<PoolOptions> = {}): TestPool {
  const sessions: Session[] = [];
  let attempts = 0;
  const connect = options.connect ?? (() => testSession());
  const pool = new Pool({
    max: 2,
    depth: 1,
    maxWaiting: 100,
    acquireTimeoutMs: 10_000,
    reconnect: { minDelayMs: 5, maxDelayMs: 50 },
    ...options,
    connect: async () => {
      attempts++;
      const session = await connect();
      sessions.push(session);
      return session;
    },
  });
  return {
    pool,
    sessions,
    get attempts() {
      return attempts;
    },
    [Symbol.asyncDispose]: () => pool.close(1000),
  };
}

/** A lock on the server. A flush that waits for it is in flight until `open`. */
export async function gate() {
  const session = await testSession();
  const key = BigInt(session.processId) + 2n ** 40n;
  await session.script(`SELECT pg_advisory_lock(${key})`);
  const pass = statement({
    text: "SELECT pg_backend_pid() FROM pg_advisory_xact_lock_shared($1)",
    params: ["int8"],
    columns: ["int4"],
  });
  return {
    pass: [bind(pass, key)] as const,
    open: () => session.script("SELECT pg_advisory_unlock_all()"),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

/** Work that returns the process id of its session. */
export const here = [bind(processId)] as const;

/** The error with which the promise has to fail. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => assert.fail("Expected it to fail"),
    (error) => error,
  );
}
