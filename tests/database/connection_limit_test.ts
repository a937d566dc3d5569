/**
 * Pools end their idle sessions, and pools and stores that share a connection
 * limit never exceed it. Against a real server.
 */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  ConnectionLimit,
  openStreamReader,
  openStreamStorage,
  parseStreamId,
} from "../../mod.ts";
import { placesOf } from "../../src/database/shared_places.ts";
import { Pool, type PoolOptions } from "../../src/database/pool.ts";
import { bind, statement } from "../../src/database/statement.ts";
import type { Session } from "../../src/database/session.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { openTestStorage } from "../support/storage.ts";
import { testSession } from "../support/sessions.ts";
import { until } from "../support/until.ts";

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

/** Runs so many calls at the same time. */
async function burst(pool: Pool, calls: number, seconds = 0.05): Promise<void> {
  await Promise.all(
    Array.from({ length: calls }, () => pool.run(work(seconds), "read")),
  );
}

/** Makes pools with one limit, and counts the most sessions that they had. */
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
  it("end after a while, all but one, and are opened again when they are needed", async () => {
    const pool = poolOf({ idleTimeoutMs: 200 });
    await burst(pool, 8);
    assert.equal(pool.state.open, 4);
    await until(() => pool.state.open === 1);
    await burst(pool, 8);
    assert.equal(pool.state.open, 4);
    await pool.close(1000);
  });

  it("stay open if they are used now and then", async () => {
    const pool = poolOf({ idleTimeoutMs: 1500, max: 2 });
    await burst(pool, 2);
    // Each session has its own kind of work, so both are used repeatedly.
    const end = performance.now() + 2000;
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
  it("is a whole number of 1 or more", () => {
    for (const max of [0, -1, 3.5, NaN, Infinity, "9" as never]) {
      assert.throws(
        () => new ConnectionLimit(max),
        (error) => isStreamStorageError(error, "BAD_CONFIG"),
      );
    }
  });

  it("holds in bursts of all pools, and each pool makes progress", async () => {
    await using shared = sharing(8, 5, { max: 4 });
    const letGo = await shared.places.keep(5, keeping);
    await Promise.all(shared.pools.map((pool) => burst(pool, 20)));
    assert.equal(shared.most, 8);
    assert.equal(shared.places.taken, 8);
    letGo();
  });

  it("gives places to the pools that need them: idle ones, then those of larger pools", async () => {
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
    // A pool that was idle for a second gives back all places that it can.
    const working = [keepBusy(second)];
    await until(() => second.held === 5 && first.held === 1);
    // A busy pool gives the places that it has more than the others.
    working.push(...[first, third, fourth].map(keepBusy));
    await until(() => shared.pools.every(({ held }) => held === 2));
    isOver = true;
    await Promise.all(working);
    assert.equal(shared.most, 8);
    letGo();
  });

  it("reserves places for a store that opens, or fails with a typed error", async () => {
    await using shared = sharing(6, 1, { max: 6 });
    const [pool] = shared.pools as [Pool];
    const letGo = await shared.places.keep(1, keeping);
    await burst(pool, 20);
    assert.equal(shared.places.taken, 6);
    const other = await shared.places.keep(4, keeping);
    assert.equal(pool.held, 2);
    assert.equal(shared.places.taken, 6);
    const noRoom = (error: unknown) => {
      assert.ok(isStreamStorageError(error, "RESOURCE_EXHAUSTED"));
      assert.equal(error.details.reason, "connection_limit");
      assert.equal(error.retryable, true);
      return true;
    };
    await assert.rejects(shared.places.keep(2, keeping), noRoom);
    // The pool is busy for longer than the opening waits.
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
    assert.equal(shared.places.taken, 0);
  });

  it("holds in random bursts with random losses of sessions", async () => {
    const sessions = new Set<Session>();
    await using shared = sharing(9, 5, {
      max: 5,
      depth: 2,
      idleTimeoutMs: 200,
      connect: async () => {
        const session = await testSession();
        sessions.add(session);
        void session.closed.then(() => sessions.delete(session));
        return session;
      },
    });
    const letGo = await shared.places.keep(5, keeping);
    let most = 0;
    let lost = 0;
    const end = performance.now() + 1200;
    const storms = shared.pools.map(async (pool) => {
      while (performance.now() < end) {
        const calls = Array.from(
          { length: Math.ceil(Math.random() * 20) },
          () => pool.run(work(Math.random() / 50), "read").catch(() => lost++),
        );
        await Promise.all(calls);
        most = Math.max(most, sessions.size);
        if (Math.random() < 0.2) await delay(Math.random() * 300);
      }
    });
    const losses = (async () => {
      while (performance.now() < end) {
        await delay(Math.random() * 100);
        most = Math.max(most, sessions.size);
        const one = [...sessions][Math.floor(Math.random() * sessions.size)];
        one?.destroy("It was cut");
      }
    })();
    await Promise.all([...storms, losses]);
    assert.ok(most > 5 && most <= 9, `${most} sessions`);
    assert.ok(lost > 0);
    // Every pool still works.
    await Promise.all(shared.pools.map((pool) => burst(pool, 10)));
    letGo();
  });

  it("is not used up by sessions that could not be opened", async () => {
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
    assert.equal(shared.places.taken, 2);
    isBroken = false;
    await Promise.all(shared.pools.map((pool) => burst(pool, 20)));
    assert.equal(shared.places.taken, 4);
    letGo();
  });
});

describe("Ten stores of one process", () => {
  const applicationName = `limit_${crypto.randomUUID().slice(0, 8)}`;
  const streamIds = Array.from(
    { length: 24 },
    (_, i) => parseStreamId("20" + (100 + i).toString(16).repeat(31)),
  );
  const opened: TestStreamStorage[] = [];
  after(async () => {
    await Promise.all(opened.map((test) => test[Symbol.asyncDispose]()));
  });

  async function connections(): Promise<number> {
    await using session = await testSession();
    const [row] = await session.script(
      `SELECT count(*) FROM pg_stat_activity
       WHERE application_name = '${applicationName}'`,
    );
    return Number(row![0]);
  }

  /** Writes and reads of many streams at once. */
  async function busy({ storage }: TestStreamStorage): Promise<void> {
    await Promise.all(streamIds.map(async (streamId) => {
      const data = new Uint8Array([1]);
      await storage.createStreamStorage(streamId, {
        number: 0n,
        data,
        snapshot: data,
      });
      for (let slot = 0; slot < 10; slot++) {
        await storage.writeEvent(streamId, 1n, slot, data);
        await storage.readStreamFromLastSnapshot(streamId, 0);
      }
    }));
  }

  it("stay within a limit during a burst, and keep few connections after it", async () => {
    const connectionLimit = new ConnectionLimit(44);
    const options = {
      connectionLimit,
      applicationName,
      maxConnections: 10,
      idleTimeoutMs: 300,
      operationTimeoutMs: 30_000,
    };
    const open = async () => {
      const test = await openTestStorage(options);
      opened.push(test);
      return test;
    };
    await Promise.all(Array.from({ length: 10 }, open));
    assert.equal(placesOf(connectionLimit).taken, 40);
    let isOver = false;
    let most = 0;
    const watching = (async () => {
      while (!isOver) most = Math.max(most, await connections());
    })();
    await Promise.all(opened.map(busy));
    isOver = true;
    await watching;
    // No worker runs, so ten of the places stay empty.
    assert.ok(most > 30 && most <= 34, `${most} connections`);
    // What stays is the lock session, and one session for each kind of work.
    while (await connections() > 30) await delay(20);

    // There is room for a reader, but for another store only after one closes.
    const { url, schema, storage } = opened[0]!;
    await using reader = await openStreamReader({
      url,
      schema,
      connectionLimit,
      applicationName,
    });
    await reader.readStreamFromLastSnapshot(streamIds[0]!, 0);
    await assert.rejects(
      open(),
      (error) => isStreamStorageError(error, "RESOURCE_EXHAUSTED"),
    );
    await storage.close();
    await open();
    assert.equal(placesOf(connectionLimit).taken, 41);
  });
});

describe("A store with a connection limit", () => {
  it("can't be opened if the limit is too small for one store", async () => {
    const options = { connectionLimit: new ConnectionLimit(2) };
    await assert.rejects(
      openTestStorage(options),
      (error) => isStreamStorageError(error, "BAD_CONFIG"),
    );
    assert.equal(placesOf(options.connectionLimit).taken, 0);
  });

  it("leaves no places taken if it can't be opened", async () => {
    const connectionLimit = new ConnectionLimit(5);
    const url = new URL(await testDatabaseUrl());
    url.pathname = "/no_such_database";
    await assert.rejects(
      openStreamStorage({ connectionLimit, url: url.href, schema: "limit" }),
      (error) => isStreamStorageError(error, "BAD_CONFIG"),
    );
    assert.equal(placesOf(connectionLimit).taken, 0);
  });
});
