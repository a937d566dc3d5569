/**
 * A pool over a real server: its bounds, deadlines and signals, and how it
 * closes. pool_connections_test.ts is about connections that fail.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ConnectionLostError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { failure, gate, here, testPool } from "../support/pools.ts";
import { testSession } from "../support/sessions.ts";
import { until, untilSeen } from "../support/until.ts";

describe("A pool", () => {
  it("opens a session only if all are busy, up to its limit", async () => {
    await using held = await gate();
    await using test = testPool({ max: 3, depth: 2 });
    const { pool } = test;
    for (let i = 0; i < 5; i++) await pool.run(here, "read");
    assert.equal(pool.state.open, 1);
    const runs = Array.from({ length: 20 }, () => pool.run(held.pass, "read"));
    await until(() => pool.state.open === 3 && pool.state.waiting === 14);
    assert.deepEqual(test.sessions.map(({ inFlight }) => inFlight), [2, 2, 2]);
    await held.open();
    await Promise.all(runs);
    assert.deepEqual(pool.state, {
      open: 3,
      connecting: 0,
      idle: 3,
      waiting: 0,
    });
    assert.equal(test.attempts, 3);
  });

  it("gives a session work that it has prepared, even before earlier calls", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool } = test;
    await pool.run(here, "read");
    const order: string[] = [];
    const run = (name: string, bound: readonly Bound[]) =>
      pool.run(bound, "read").then(() => order.push(name));
    const nth = (n: number) =>
      bind(statement({ text: `SELECT ${n}`, columns: ["int4"] }));
    const first = pool.run(held.pass, "read");
    await until(() => test.sessions[0]!.inFlight === 1);
    const calls = [
      run("new", [nth(1)]),
      ...Array.from({ length: 20 }, () => run("known", here)),
    ];
    await held.open();
    await Promise.all([first, ...calls]);
    // The new statement runs after a few of the known ones, not after all.
    assert.equal(order.indexOf("new"), 8);
  });

  it("prefers the idle session that has prepared the work", async () => {
    await using held = await gate();
    await using test = testPool({ max: 2 });
    const { pool } = test;
    const runs = [0, 1].map(() => pool.run(held.pass, "read"));
    await until(() => pool.state.open === 2 && pool.state.waiting === 0);
    await held.open();
    await Promise.all(runs);
    const nth = (n: number) =>
      bind(statement({
        text: `SELECT pg_backend_pid(), ${n}`,
        columns: ["int4", "int4"],
      }));
    const [one, other] = test.sessions;
    await one!.run([nth(1)]);
    await other!.run([nth(2)]);
    for (const n of [2, 1, 2, 2, 1]) {
      const [{ rows: [row] }] = await pool.run([nth(n)], "read");
      const { processId } = n === 1 ? one! : other!;
      assert.equal(row![0], processId);
    }
  });

  it("refuses work beyond the queue's length", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1, maxWaiting: 3 });
    const { pool } = test;
    const runs = [pool.run(held.pass, "write")];
    await until(() => pool.state.open === 1);
    for (let i = 0; i < 3; i++) runs.push(pool.run(here, "write"));
    const error = await failure(pool.run(here, "write"));
    assert.equal((error as Error).name, "PoolOverloadError");
    await held.open();
    await Promise.all(runs);
  });

  it("refuses work that waited too long for a session", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1, acquireTimeoutMs: 100 });
    const { pool } = test;
    // On a busy machine, the session alone may take longer to open.
    await untilSeen(() =>
      pool.run(here, "write").then(() => true, () => false)
    );
    const first = pool.run(held.pass, "write");
    await until(() => pool.state.open === 1);
    const started = performance.now();
    const errors = await Promise.all(
      [0, 1].map(() => failure(pool.run(here, "write"))),
    );
    assert.ok(performance.now() - started >= 99);
    for (const error of errors) {
      assert.equal((error as Error).name, "PoolTimeoutError");
    }
    assert.equal(pool.state.waiting, 0);
    await held.open();
    await first;
  });

  it("does not begin work after the work's own deadline", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool } = test;
    const first = pool.run(held.pass, "write");
    await until(() => pool.state.open === 1);
    for (const latest of [performance.now() - 1, performance.now() + 50]) {
      const late = pool.run(here, "write", undefined, latest);
      assert.equal((await failure(late) as Error).name, "PoolTimeoutError");
    }
    await held.open();
    await first;
  });

  it("has the server end work at its deadline", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const latest = performance.now() + 200;
    const run = test.pool.run(held.pass, "write", undefined, latest);
    const error = await failure(run) as Error & { sqlState?: string };
    assert.equal(error.sqlState, "57014");
    assert.ok(performance.now() >= latest - 1);
    await test.pool.run(here, "write");
    assert.equal(test.attempts, 1);
  });
});

describe("The signal of a pool's work", () => {
  it("ends the wait of reads and writes", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool } = test;
    const first = pool.run(held.pass, "write");
    await until(() => pool.state.open === 1);
    const controller = new AbortController();
    const { signal } = controller;
    const runs = (["read", "write"] as const).map((mode) =>
      failure(pool.run(here, mode, signal))
    );
    assert.equal(pool.state.waiting, 2);
    const reason = new Error("enough");
    controller.abort(reason);
    assert.deepEqual(await Promise.all(runs), [reason, reason]);
    assert.equal(pool.state.waiting, 0);
    assert.equal(await failure(pool.run(here, "read", signal)), reason);
    await held.open();
    await first;
  });

  it("gives up a read, whose session ends it and is used again", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool } = test;
    const [{ rows: before }] = await pool.run(here, "read");
    const controller = new AbortController();
    const read = pool.run(held.pass, "read", controller.signal);
    assert.equal(test.sessions[0]!.inFlight, 1);
    controller.abort("enough");
    assert.equal(await failure(read), "enough");
    assert.equal(test.sessions[0]!.inFlight, 1);
    const next = pool.run(here, "read");
    await held.open();
    assert.deepEqual((await next)[0].rows, before);
    assert.equal(test.attempts, 1);
  });

  it("does not give up a write that was sent", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool } = test;
    await pool.run(here, "read");
    const controller = new AbortController();
    const write = pool.run(held.pass, "write", controller.signal);
    controller.abort();
    await held.open();
    assert.equal((await write)[0].rows.length, 1);
  });

  it("has no listeners left after the work", async () => {
    await using test = testPool();
    const { signal } = new AbortController();
    const listeners = new Set<unknown>();
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners.add(args[1]);
      return Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners.delete(args[1]);
      return Reflect.apply(removeEventListener, signal, args);
    };
    await Promise.all(
      Array.from(
        { length: 10 },
        (_, i) => test.pool.run(here, i % 2 ? "read" : "write", signal),
      ),
    );
    await until(() => listeners.size === 0);
  });
});

describe("Closing a pool", () => {
  it("finishes accepted work and refuses later work", async () => {
    await using held = await gate();
    const test = testPool({ max: 1 });
    const { pool } = test;
    const runs = [pool.run(held.pass, "write")];
    await until(() => pool.state.open === 1);
    for (let i = 0; i < 3; i++) runs.push(pool.run(held.pass, "write"));
    const closing = pool.close(10_000);
    const refused = await failure(pool.run(here, "write"));
    assert.equal((refused as Error).name, "PoolClosedError");
    await held.open();
    await Promise.all([closing, ...runs]);
    assert.equal(pool.state.open, 0);
  });

  it("breaks the work that does not end in time", async () => {
    await using held = await gate();
    const test = testPool({ max: 1 });
    const { pool } = test;
    await pool.run(here, "write");
    const inFlight = failure(pool.run(held.pass, "write"));
    const waiting = failure(pool.run(here, "write"));
    const started = performance.now();
    await pool.close(100);
    assert.ok(performance.now() - started < 5000);
    assert.ok((await inFlight as ConnectionLostError).sent);
    assert.equal((await waiting as Error).name, "PoolClosedError");
    assert.equal(test.sessions[0]!.usable, false);
  });

  it("waits for a silent server only as long as it may", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const test = testPool({ connect: () => testSession({ url: proxy.url }) });
    await Promise.all([0, 1].map(() => test.pool.run(here, "read")));
    proxy.silence(true);
    const started = performance.now();
    await test.pool.close(200);
    const took = performance.now() - started;
    assert.ok(took >= 190 && took < 5000, `Took ${took} ms`);
  });

  it("closes a session that connects too late", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const late = Promise.withResolvers<Session>();
    const test = testPool({ connect: () => late.promise });
    const waiting = failure(test.pool.run(here, "write"));
    await test.pool.close(20);
    assert.equal((await waiting as Error).name, "PoolClosedError");
    const session = await testSession({ url: proxy.url });
    late.resolve(session);
    await session.closed;
    await until(() => proxy.open === 0);
    assert.deepEqual(test.pool.state, {
      open: 0,
      connecting: 0,
      idle: 0,
      waiting: 0,
    });
  });
});
