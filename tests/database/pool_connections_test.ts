/**
 * A pool whose connections are refused, lost or given up, over a real server, a
 * proxy and a scripted server; and a pool that gives a session up for another.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { type FakeServer, fakeServer } from "../support/fake_server.ts";
import { startProxy } from "../support/network/proxy.ts";
import { failure, gate, here, testPool } from "../support/pools.ts";
import { terminate, testSession } from "../support/sessions.ts";
import { until } from "../support/until.ts";

describe("A pool that can't connect", () => {
  it("fails its callers, and waits before the next attempt", async () => {
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
    // Ten callers repeat their calls as soon as they are refused.
    const started = performance.now();
    const callers = Array.from({ length: 10 }, async () => {
      while (test.attempts < burst + 4) await failure(pool.run(here, "write"));
    });
    await Promise.all(callers);
    // At least half of 40, 80, 100 and 100 ms; timers may fire a little early.
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

  it("waits, too, if connections break before they answer", async () => {
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

describe("A pool's session that is lost", () => {
  it("is replaced unnoticed if it was idle", async () => {
    await using test = testPool({ max: 1 });
    const { pool, sessions } = test;
    await pool.run(here, "write");
    await terminate(sessions[0]!.processId);
    await sessions[0]!.closed;
    await pool.run(here, "write");
    assert.equal(test.attempts, 2);
    assert.equal(pool.state.open, 1);
  });

  it("fails only its own work", async () => {
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

describe("A pool's session that is given up", () => {
  it("keeps its place until the server ends it; one more session tries the server", async () => {
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
    // The server still has two sessions, so one more is opened, however many
    // calls wait.
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

  it("is followed by a delay, like a refusal", async () => {
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
  it("ends an idle session, or else the next one that is idle", async () => {
    await using held = await gate();
    await using test = testPool({ max: 2 });
    const { pool, sessions } = test;
    const runs = [0, 1].map(() => pool.run(held.pass, "write"));
    await until(() => pool.state.open === 2);
    // Each call ends another session, and the third finds none left.
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

  it("ends a session for a pool that the server refuses, which waits for it", async () => {
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

  it("can't help the other pool if it has no session itself", async () => {
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
