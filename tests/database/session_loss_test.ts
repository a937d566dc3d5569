/**
 * A session that loses its connection, behind a proxy or on a real server: its
 * calls fail at once, and its caller knows whether they were sent.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { sqlStateOf } from "../../src/database/failures.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { close, listen, portOf } from "../support/network/listener.ts";
import { startProxy } from "../support/network/proxy.ts";
import { terminate, testSession } from "../support/sessions.ts";

const one = statement({ text: "SELECT 1", columns: ["int4"] });
const sleep = statement({
  text: "SELECT pg_sleep($1)::text",
  params: ["float8"],
  columns: ["text"],
});

/** The error of the promise, which must be a lost connection. */
async function lost(promise: Promise<unknown>): Promise<ConnectionLostError> {
  const error = await promise.then(
    () => assert.fail("Expected a lost connection"),
    (error) => error,
  );
  assert.ok(error instanceof ConnectionLostError, String(error));
  return error;
}

describe("A session that loses its connection", () => {
  it("refuses later calls if it was idle", async () => {
    const session = await testSession();
    await terminate(session.processId);
    await session.closed;
    assert.equal(session.usable, false);
    const error = await lost(session.run([bind(one)]));
    assert.equal(error.sent, false);
    assert.equal(sqlStateOf(error), "57P01");
    assert.equal((await lost(session.script("SELECT 1"))).sent, false);
    await session.close();
  });

  it("fails its calls in flight, but not those of another session", async () => {
    await using other = await testSession();
    const session = await testSession();
    const runs = [
      session.run([bind(sleep, 60)]),
      session.run([bind(one)]),
      session.script("SELECT 1"),
    ].map(lost);
    await terminate(session.processId);
    for (const error of await Promise.all(runs)) {
      assert.equal(error.sent, true);
      assert.equal(sqlStateOf(error), "57P01");
    }
    assert.equal(session.inFlight, 0);
    await session.close();
    assert.deepEqual((await other.run([bind(one)]))[0].rows, [[1]]);
  });

  for (const side of ["frontend", "backend"] as const) {
    it(`fails the call in flight if it is cut at a ${side} message`, async () => {
      await using proxy = await startProxy(await testDatabaseUrl());
      for (const when of ["before", "after"] as const) {
        const session = await testSession({ url: proxy.url });
        await session.run([bind(one)]);
        const cut = proxy.cutAt({ side, nth: 2, when });
        assert.equal((await lost(session.run([bind(one)]))).sent, true);
        await cut;
        await session.close();
        await proxy.settled();
      }
    });
  }

  it("still returns an answer that came before the cut", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const session = await testSession({ url: proxy.url });
    void proxy.cutAt({ side: "backend", type: "Z", nth: 2, when: "after" });
    assert.deepEqual((await session.run([bind(one)]))[0].rows, [[1]]);
    await session.closed;
    await session.close();
  });
});

describe("A session whose server is silent", () => {
  it("is given up after the time for an answer", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const session = await testSession({
      url: proxy.url,
      answerTimeoutMs: 200,
    });
    await session.run([bind(one)]);
    proxy.silence(true);
    const started = performance.now();
    const errors = await Promise.all(
      [0, 1].map(() => lost(session.run([bind(one)]))),
    );
    const waited = performance.now() - started;
    for (const error of errors) assert.equal(error.sent, true);
    assert.ok(waited >= 199 && waited < 5000, `Waited ${waited} ms`);
    assert.equal(session.usable, false);
    await session.close();
  });

  it("is not given up while answers come, or while it has no question", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using session = await testSession({
      url: proxy.url,
      answerTimeoutMs: 400,
    });
    await session.run([bind(sleep, 0.3)]);
    await session.run([bind(sleep, 0.3)]);
    // Each message is late, but not by too much.
    proxy.setRule(({ side }) =>
      side === "backend" ? { delayMs: 150 } : "forward"
    );
    await session.run([bind(one)]);
    assert.equal(session.usable, true);
  });

  it("does not count the time in which this process is stopped", async () => {
    await using session = await testSession({ answerTimeoutMs: 200 });
    await session.run([bind(one)]);
    const answer = session.run([bind(one)]);
    await setImmediate();
    // Like a process that was stopped: its timers are due before it reads.
    const awake = performance.now() + 400;
    while (performance.now() < awake);
    assert.deepEqual((await answer)[0].rows, [[1]]);
  });

  it("can be closed", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const session = await testSession({
      url: proxy.url,
      answerTimeoutMs: 200,
    });
    proxy.silence(true);
    await session.close();
    assert.equal(session.usable, false);
  });
});

describe("A session whose server breaks the protocol", () => {
  it("fails with the fault as the cause", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const session = await testSession({ url: proxy.url });
    proxy.setRule(({ bytes, type }) => {
      if (type === "D") bytes.writeInt32BE(2, 1);
      return "forward";
    });
    const error = await lost(session.run([bind(one)]));
    assert.ok(error.cause instanceof RangeError);
    await session.close();
  });
});

describe("Closing a session", () => {
  it("waits for the calls in flight", async () => {
    const session = await testSession();
    const answered = session.run([bind(sleep, 0.05)]);
    const asked = session.run([bind(one)]);
    await session.close();
    await answered;
    assert.deepEqual((await asked)[0].rows, [[1]]);
    assert.equal((await lost(session.run([bind(one)]))).sent, false);
  });

  it("leaves no connection, and may be repeated", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const session = await testSession({ url: proxy.url });
    assert.equal(proxy.open, 1);
    await Promise.all([session.close(), session.close()]);
    await session.close();
    assert.equal(proxy.open, 0);
  });
});

describe("Connecting a session", () => {
  const options = {
    preparedStatements: true,
    answerTimeoutMs: 5000,
  };

  async function target(hosts: number[], parameters: object = {}) {
    const parsed = parseConnectionUrl(await testDatabaseUrl());
    const { host, port } = parsed.hosts[0]!;
    return {
      ...parsed,
      ...parameters,
      hosts: hosts.map((given) => ({ host, port: given || port })),
    };
  }

  it("tries the hosts in order", async () => {
    const closed = await listen(0);
    const free = portOf(closed);
    await close(closed);
    await using session = await connectSession(
      await target([free, 0]),
      {},
      options,
    );
    assert.deepEqual((await session.run([bind(one)]))[0].rows, [[1]]);
    const error = await lost(connectSession(await target([free]), {}, options));
    assert.equal(error.sent, false);
  });

  it("refuses a read-only server if writes are wanted", async () => {
    const wanted = await target([0], { sessionAttrs: "read-write" });
    await using session = await connectSession(wanted, {}, options);
    assert.equal(session.usable, true);
    const readOnly = { default_transaction_read_only: "on" };
    const error = await lost(connectSession(wanted, readOnly, options));
    assert.equal(error.sent, false);
  });

  it("gives up a server that never answers, and leaves no socket", async () => {
    const server = createServer();
    const ended = new Promise<void>((resolve) => {
      server.on("connection", (socket: Socket) => {
        socket.on("error", () => {});
        socket.on("data", () => {});
        socket.on("close", () => resolve());
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const wanted = await target([portOf(server)], { connectTimeoutMs: 200 });
    assert.equal((await lost(connectSession(wanted, {}, options))).sent, false);
    await ended;
    await close(server);
  });
});
