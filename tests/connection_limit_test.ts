/** Idle sessions end, and stores that share a limit keep it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectionLimit, placesOf } from "../src/database/connection_limit.ts";
import { Pool, type PoolOptions } from "../src/database/pool.ts";
import { bind, statement } from "../src/database/statement.ts";
import { isStreamStorageError } from "../src/storage/errors.ts";
import { testSession } from "./support/sessions.ts";
import { until } from "./support/until.ts";

const sleep = statement({
  text: "SELECT 1 FROM (SELECT pg_sleep($1::float8)) AS slept",
  params: ["text"],
  columns: ["int4"],
});
const work = (seconds = 0) => [bind(sleep, String(seconds))] as const;

function poolOf(options: Partial<PoolOptions> = {}): Pool {
  return new Pool({
    max: 4,
    depth: 1,
    maxWaiting: 1000,
    acquireTimeoutMs: 30_000,
    reconnect: { minDelayMs: 5, maxDelayMs: 50 },
    connect: () => testSession(),
    ...options,
  });
}

/** So many at the same time. */
async function burst(pool: Pool, calls: number, seconds = 0.05): Promise<void> {
  await Promise.all(
    Array.from({ length: calls }, () => pool.run(work(seconds), "read")),
  );
}

/** A limit, pools of it, and the most that they ever had together. */
function sharing(max: number, pools: number, options: Partial<PoolOptions>) {
  const limit = new ConnectionLimit(max);
  const places = placesOf(limit);
  let open = 0;
  let most = 0;
  const all = Array.from({ length: pools }, () =>
    poolOf({
      places,
      connect: async () => {
        most = Math.max(most, ++open);
        const session = await testSession().catch((error) => {
          open--;
          throw error;
        });
        void session.closed.then(() => open--);
        return session;
      },
      ...options,
    }));
  return {
    limit,
    places,
    pools: all,
    get most() {
      return most;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map((pool) => pool.close(5000)));
    },
  };
}

const keeping = { withinMs: 10_000 };

describe("Idle sessions of a pool", () => {
  it("end after a while, all but one, and come back when they are needed", async () => {
    const pool = poolOf({ idleTimeoutMs: 200 });
    await burst(pool, 8);
    assert.equal(pool.state.open, 4);
    await until(() => pool.state.open === 1);
    await burst(pool, 8);
    assert.equal(pool.state.open, 4);
    await pool.close(1000);
  });

  it("that are used now and then stay", async () => {
    const pool = poolOf({ idleTimeoutMs: 2000, max: 2 });
    await burst(pool, 2);
    // Each has work of its own kind, so both are used again and again.
    const end = performance.now() + 2500;
    await pool.run(work(), "write");
    while (performance.now() < end) {
      await Promise.all([burst(pool, 1), pool.run(work(), "write")]);
      await delay(20);
    }
    assert.equal(pool.state.open, 2);
    await pool.close(1000);
  });
});

describe("A connection limit", () => {
  it("is a whole number of 3 or more", () => {
    for (const max of [2, 0, -1, 3.5, NaN, Infinity, "9" as never]) {
      assert.throws(
        () => new ConnectionLimit(max),
        (error) => isStreamStorageError(error, "BAD_CONFIG"),
      );
    }
  });

  it("is kept by bursts of all, of which each goes on", async () => {
    await using shared = sharing(8, 5, { max: 4 });
    const letGo = await shared.places.keep(5, keeping);
    await Promise.all(shared.pools.map((pool) => burst(pool, 20)));
    assert.equal(shared.most, 8);
    assert.equal(shared.limit.inUse, 8);
    letGo();
  });

  it("goes to who needs it: first what is idle, then what others have more of", async () => {
    await using shared = sharing(8, 4, { max: 6 });
    const letGo = await shared.places.keep(4, keeping);
    const [first, second, third, fourth] = shared.pools as [
      Pool,
      Pool,
      Pool,
      Pool,
    ];
    let isOver = false;
    const keepBusy = async (pool: Pool) => {
      while (!isOver) await burst(pool, 12);
    };
    await burst(first, 20);
    assert.equal(first.held, 5);
    // One that was idle for a second gives back all that it does not need.
    const working = [keepBusy(second)];
    await until(() => second.held === 5 && first.held === 1);
    // Who is at work gives from what he has more.
    working.push(...[first, third, fourth].map(keepBusy));
    await until(() => shared.pools.every(({ held }) => held === 2));
    isOver = true;
    await Promise.all(working);
    assert.equal(shared.most, 8);
    letGo();
  });

  it("keeps places for a store that comes, or tells that there are none", async () => {
    await using shared = sharing(6, 1, { max: 6 });
    const [pool] = shared.pools as [Pool];
    const letGo = await shared.places.keep(1, keeping);
    await burst(pool, 20);
    assert.equal(shared.limit.inUse, 6);
    const other = await shared.places.keep(4, keeping);
    assert.equal(pool.held, 2);
    assert.equal(shared.limit.inUse, 6);
    const noRoom = (error: unknown) => {
      assert.ok(isStreamStorageError(error, "RESOURCE_EXHAUSTED"));
      assert.equal(error.details.reason, "connection_limit");
      assert.equal(error.retryable, true);
      return true;
    };
    await assert.rejects(shared.places.keep(2, keeping), noRoom);
    // One that is busy for longer than the newcomer waits.
    const busy = burst(pool, 2, 1);
    await until(() => pool.state.idle === 0 && pool.state.open === 2);
    await assert.rejects(shared.places.keep(1, { withinMs: 50 }), noRoom);
    const reason = new Error("Enough");
    await assert.rejects(
      shared.places.keep(1, { ...keeping, signal: AbortSignal.abort(reason) }),
      reason,
    );
    await busy;
    other();
    other();
    letGo();
    await pool.close(1000);
    assert.equal(shared.limit.inUse, 0);
  });

  it("is not used up by sessions that could not be opened, or broke", async () => {
    let isBroken = true;
    await using shared = sharing(4, 2, {
      max: 4,
      connect: () =>
        isBroken ? Promise.reject(new Error("Broken")) : testSession(),
    });
    const letGo = await shared.places.keep(2, keeping);
    for (const pool of shared.pools) {
      await assert.rejects(pool.run(work(), "read"));
    }
    assert.equal(shared.limit.inUse, 2);
    isBroken = false;
    await Promise.all(shared.pools.map((pool) => burst(pool, 20)));
    assert.equal(shared.limit.inUse, 4);
    letGo();
  });
});
