import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { Pool, type PoolOptions } from "../../src/database/pool.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { type FakeServer, fakeServer } from "../support/fake_server.ts";
import { startProxy } from "../support/network/proxy.ts";
import { terminate, testSession } from "../support/sessions.ts";
import { until, untilSeen } from "../support/until.ts";

const processId = statement({
  text: "SELECT pg_backend_pid()",
  columns: ["int4"],
});

interface TestPool extends AsyncDisposable {
  pool: Pool;
  /** Every session that was ever opened. */
  sessions: Session[];
  /** Connections that were asked for. */
  readonly attempts: number;
}

function testPool(options: Partial<PoolOptions> = {}): TestPool {
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

/** A lock of the server; what waits for it is under way until `open`. */
async function gate() {
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

const here = [bind(processId)] as const;

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => assert.fail("Expected it to fail"),
    (error) => error,
  );
}

describe("The bounds of a pool", () => {
  it("opens a session only when all are busy, up to the limit", async () => {
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

  it("gives a session what it has prepared, also before earlier calls", async () => {
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
    // It goes after a few of them, not after all.
    assert.equal(order.indexOf("new"), 8);
  });

  it("gives an idle session what it has prepared", async () => {
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

  it("does not begin work after its own deadline", async () => {
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

  it("the server ends what is under way at its deadline", async () => {
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

describe("A signal", () => {
  it("ends the waiting of reads and writes", async () => {
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

  it("gives a read up; its session ends it and is used again", async () => {
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

  it("does not give a write up that was sent", async () => {
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

  it("is not listened to any more after the work", async () => {
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

describe("A pool that can't connect", () => {
  it("tells its callers and holds off before the next attempt", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = testPool({
      max: 5,
      connect: () => testSession({ url: proxy.url }),
      reconnect: { minDelayMs: 20, maxDelayMs: 100 },
    });
    const { pool } = test;
    proxy.refuse(true);
    const first = await Promise.all(
      Array.from({ length: 50 }, () => failure(pool.run(here, "write"))),
    );
    for (const error of first) {
      assert.ok(error instanceof ConnectionLostError && !error.sent);
    }
    const burst = test.attempts;
    assert.ok(burst <= 5, `${burst} attempts at once`);
    // Ten callers who come back at once whenever they are refused.
    const started = performance.now();
    const callers = Array.from({ length: 10 }, async () => {
      while (test.attempts < burst + 4) await failure(pool.run(here, "write"));
    });
    await Promise.all(callers);
    // Half of 40, 80, 100 and 100 ms at least, less what timers are early.
    assert.ok(performance.now() - started >= 156);
    proxy.refuse(false);
    await pool.run(here, "write");
    assert.equal(test.attempts, burst + 5);
  });

  it("goes on with the sessions that it has", async () => {
    const last = Promise.withResolvers<Session>();
    let opened = 0;
    await using held = await gate();
    await using test = testPool({
      connect: () => opened++ === 0 ? testSession() : last.promise,
    });
    const { pool } = test;
    const first = pool.run(held.pass, "write");
    await until(() => pool.state.open === 1);
    const second = pool.run(here, "write");
    await until(() => opened === 2);
    last.reject(new ConnectionLostError("Refused", false));
    await until(() => pool.state.connecting === 0);
    assert.equal(pool.state.waiting, 1);
    await held.open();
    await Promise.all([first, second]);
  });

  it("holds off when connections break before they answer", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = testPool({
      max: 1,
      connect: () => testSession({ url: proxy.url }),
      reconnect: { minDelayMs: 20, maxDelayMs: 100 },
    });
    proxy.setRule(() => "cut-before");
    const started = performance.now();
    for (let i = 0; i < 4; i++) await failure(test.pool.run(here, "write"));
    assert.equal(test.attempts, 4);
    assert.ok(performance.now() - started >= 106);
    proxy.setRule(undefined);
    await test.pool.run(here, "write");
  });
});

describe("A session of a pool that is lost", () => {
  it("while idle is replaced, and nobody notices", async () => {
    await using test = testPool({ max: 1 });
    const { pool, sessions } = test;
    await pool.run(here, "write");
    await terminate(sessions[0]!.processId);
    await sessions[0]!.closed;
    await pool.run(here, "write");
    assert.equal(test.attempts, 2);
    assert.equal(pool.state.open, 1);
  });

  it("takes only its own work with it", async () => {
    await using held = await gate();
    await using test = testPool({ max: 1 });
    const { pool, sessions } = test;
    await pool.run(here, "write");
    const broken = failure(pool.run(held.pass, "write"));
    const waiting = [0, 1, 2].map(() => pool.run(here, "write"));
    await terminate(sessions[0]!.processId);
    assert.ok((await broken as ConnectionLostError).sent);
    await Promise.all(waiting);
  });
});

describe("A session of a pool that is given up", () => {
  it("keeps its place until the server lets go, and one more finds out", async () => {
    const servers: FakeServer[] = [];
    await using test = testPool({
      max: 2,
      connect: async () => {
        const server = await fakeServer({ answerTimeoutMs: 60_000 });
        servers.push(server);
        return server.session;
      },
    });
    const { pool, sessions } = test;
    const giveUp = async (nth: number) => {
      await until(() => sessions[nth]?.inFlight === 1);
      sessions[nth]!.giveUp("No answer");
    };
    const runs = [0, 1, 2, 3].map(() => failure(pool.run(here, "write")));
    await Promise.all([giveUp(0), giveUp(1)]);
    // Two are still at the server: one more, no matter how many wait.
    await giveUp(2);
    await until(() => pool.state.open === 0);
    await Promise.all(servers.map(({ left }) => left));
    assert.deepEqual([test.attempts, pool.state.waiting], [3, 1]);
    servers[0]!.end();
    await giveUp(3);
    for (const error of await Promise.all(runs)) {
      assert.ok(error instanceof ConnectionLostError && error.sent);
    }
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  it("is followed by a delay, as a refusal is", async () => {
    await using test = testPool({
      max: 1,
      reconnect: { minDelayMs: 60_000, maxDelayMs: 60_000 },
    });
    const { pool, sessions } = test;
    await pool.run(here, "write");
    sessions[0]!.giveUp("No answer");
    await sessions[0]!.released;
    const signal = AbortSignal.timeout(100);
    await failure(pool.run(here, "write", signal));
    assert.equal(test.attempts, 1);
  });
});

describe("A pool that gives way", () => {
  it("ends an idle session, or else the next that is done", async () => {
    await using held = await gate();
    await using test = testPool({ max: 2 });
    const { pool, sessions } = test;
    const runs = [0, 1].map(() => pool.run(held.pass, "write"));
    await until(() => pool.state.open === 2);
    // Not the same one twice, and none that is not there.
    const leaving = [pool.giveWay(), pool.giveWay()];
    assert.ok(leaving.every((one) => one !== undefined));
    assert.equal(pool.giveWay(), undefined);
    await held.open();
    await Promise.all([...runs, ...leaving]);
    await pool.run(here, "write");
    assert.ok(sessions.slice(0, 2).every(({ usable }) => !usable));
    await pool.giveWay();
    assert.equal(pool.state.open, 0);
  });

  it("does so for one that gets no session, which waits for it", async () => {
    await using other = testPool({ max: 1 });
    await other.pool.run(here, "read");
    const full = Object.assign(new Error("Full"), { code: "53300" });
    let asked = 0;
    await using test = testPool({
      connect: async () => {
        if (other.pool.state.open > 0) {
          throw new ConnectionLostError("Refused", false, full);
        }
        return await testSession();
      },
      makeRoom: () => {
        asked++;
        return other.pool.giveWay();
      },
    });
    await Promise.all([0, 1, 2].map(() => test.pool.run(here, "write")));
    assert.equal(other.pool.state.open, 0);
    assert.equal(asked, 1);
  });

  it("is asked in vain without a session", async () => {
    await using other = testPool();
    const full = Object.assign(new Error("Full"), { code: "53300" });
    const refusal = new ConnectionLostError("Refused", false, full);
    await using test = testPool({
      connect: () => Promise.reject(refusal),
      makeRoom: () => other.pool.giveWay(),
    });
    assert.equal(await failure(test.pool.run(here, "write")), refusal);
  });
});

describe("Closing a pool", () => {
  it("ends what was accepted and refuses what comes", async () => {
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

  it("breaks what does not end in time", async () => {
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

  it("waits no longer than it may for a server that is gone", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const test = testPool({ connect: () => testSession({ url: proxy.url }) });
    await Promise.all([0, 1].map(() => test.pool.run(here, "read")));
    proxy.silence(true);
    const started = performance.now();
    await test.pool.close(200);
    const took = performance.now() - started;
    assert.ok(took >= 190 && took < 5000, `Took ${took} ms`);
  });

  it("closes a session that comes too late", async () => {
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
