/**
 * The health of stores and readers through every state, the pulse that notices
 * a silent database, and the handler that answers an orchestrator's probes.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { Pool } from "../../src/database/pool.ts";
import { MemoryStreamStorage } from "../../src/memory/memory_stream_storage.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { Pulse } from "../../src/postgres/pulse.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import type {
  HealthSource,
  StorageHealth,
} from "../../src/telemetry/health.ts";
import { healthHandler } from "../../src/telemetry/health_handler.ts";
import { StoreTelemetry } from "../../src/telemetry/store_telemetry.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { serve } from "../support/network/serve.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const refused = new StreamStorageError({
  code: "UNAVAILABLE",
  message: "Refused",
});

/** The telemetry of a store that owns its schema, and the parts that change it. */
function owner() {
  const telemetry = new StoreTelemetry({ database: "d", schema: "s" });
  const { database, ownership } = telemetry;
  ownership.record("ownership_taken", "");
  database.answered();
  return { telemetry, database, ownership };
}

const secondsAgo = (health: StorageHealth) =>
  Math.round((Date.now() - Date.parse(health.since)) / 1000);

async function probe(
  handler: (request: Request) => Response,
  path: string,
  method = "GET",
): Promise<{ status: number; body: unknown }> {
  const answer = handler(new Request(`http://host${path}`, { method }));
  const text = await answer.text();
  const isJson = answer.headers.get("content-type") === "application/json";
  const body = isJson && text !== "" ? JSON.parse(text) : text;
  return { status: answer.status, body };
}

/** The status of both probes. */
async function statuses(...sources: HealthSource[]): Promise<number[]> {
  const handler = healthHandler(...sources);
  const ready = await probe(handler, "/readyz");
  return [ready.status, (await probe(handler, "/livez")).status];
}

describe("The health of a store", () => {
  it("is ready while it owns its schema and the database answers", async () => {
    const { telemetry, database, ownership } = owner();
    assert.equal(telemetry.health().state, "ready");
    assert.deepEqual(await statuses(telemetry), [200, 200]);
    database.connectFailed(refused);
    assert.equal(telemetry.health().state, "unavailable");
    assert.equal(telemetry.health().ownership, "owner");
    assert.deepEqual(await statuses(telemetry), [503, 200]);
    // Another session still works.
    database.answered();
    assert.equal(telemetry.health().state, "ready");
    ownership.record("ownership_session_lost", "");
    assert.equal(telemetry.health().state, "recovering");
    assert.deepEqual(await statuses(telemetry), [503, 200]);
    ownership.record("ownership_session_back", "");
    assert.deepEqual(await statuses(telemetry), [200, 200]);
    ownership.record("ownership_released", "");
    assert.equal(telemetry.health().state, "released");
    assert.deepEqual(await statuses(telemetry), [503, 200]);
    ownership.record("ownership_lost", "");
    assert.equal(telemetry.health().state, "lost");
    assert.deepEqual(await statuses(telemetry), [503, 503]);
    telemetry.leaving();
    telemetry.close();
    assert.equal(telemetry.health().state, "closed");
    assert.deepEqual(await statuses(telemetry), [503, 200]);
  });

  it("is unavailable after a silence, and says since when", () => {
    const { telemetry, database } = owner();
    const now = performance.now();
    database.answered(now - 60_000);
    assert.equal(telemetry.health().state, "unavailable");
    assert.equal(telemetry.health().database.available, false);
    assert.equal(secondsAgo(telemetry.health()), 45);
    database.connectFailed(refused);
    assert.equal(secondsAgo(telemetry.health()), 45);
    database.answered();
    assert.equal(telemetry.health().ready, true);
    assert.equal(secondsAgo(telemetry.health()), 0);
    telemetry.close();
  });

  it("of a reader has no ownership and no queue", () => {
    const telemetry = new StoreTelemetry({
      database: "d",
      schema: "s",
      isReader: true,
    });
    telemetry.database.answered();
    const health = telemetry.health();
    assert.equal(health.state, "ready");
    assert.ok(!("ownership" in health) && !("queue" in health));
    telemetry.close();
  });

  it("is known without a question to the server", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({ url: proxy.url });
    const id = newStreamId();
    await test.storage.createStreamStorage(id, {
      number: 0n,
      data: new Uint8Array([1]),
    });
    proxy.resetCounts();
    const { since, database, ...health } = test.storage.health();
    assert.equal(proxy.counts.messages.frontend["S"] ?? 0, 0);
    assert.deepEqual(health, {
      ready: true,
      state: "ready",
      ownership: "owner",
      queue: { writes: 0, bytes: 0, busySlots: 0 },
    });
    assert.ok(database.available);
    assert.ok(database.namespace?.endsWith(`|${test.schema}`));
    for (const time of [since, database.answeredAt!]) {
      assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000, time);
    }
  });

  it("is lost for good after a takeover, and the successor's is ready", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    const handler = healthHandler(storage);
    await using successor = await openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 4,
    });
    await aborted(storage.signal);
    assert.equal(storage.health().state, "lost");
    assert.equal((await probe(handler, "/livez")).status, 503);
    assert.equal(successor.health().ready, true);
    const closing = storage.close();
    assert.equal(storage.health().state, "closed");
    await closing;
    assert.equal((await probe(handler, "/livez")).status, 200);
  });

  it("recovers with the database, without any call", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs: 500,
    });
    const { storage } = test;
    proxy.refuse(true);
    proxy.cutAll();
    await assert.rejects(storage.getStreamsNumber());
    assert.equal(storage.health().state, "unavailable");
    assert.equal(storage.health().ownership, "recovering");
    proxy.refuse(false);
    await until(() => storage.health().ready);
  });

  it("in memory is ready until it is closed", async () => {
    const storage = new MemoryStreamStorage();
    assert.deepEqual(await statuses(storage), [200, 200]);
    const { since, ...health } = storage.health();
    assert.deepEqual(health, {
      ready: true,
      state: "ready",
      database: { available: true },
    });
    assert.ok(Date.parse(since) <= Date.now());
    await storage.close();
    assert.deepEqual(await statuses(storage), [503, 200]);
  });
});

describe("A pulse", () => {
  it("asks the server only while no other session gets answers", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    const { telemetry, database } = owner();
    const pool = new Pool({
      connect: () =>
        telemetry.connect(
          "read",
          () => testSession({ url: proxy.url }),
          () => refused,
        ),
      max: 1,
      depth: 1,
      maxWaiting: 10,
      acquireTimeoutMs: 10_000,
      reconnect: { minDelayMs: 5, maxDelayMs: 20 },
    });
    // So long that a stall of a busy machine does not count as silence.
    const pulse = new Pulse(pool, database, 500);
    try {
      let answers = 0;
      const busy = setInterval(() => {
        database.answered();
        answers++;
      }, 5);
      await until(() => answers > 250);
      assert.equal(pool.state.open, 0);
      clearInterval(busy);
      await until(() => pool.state.open === 1);
      proxy.refuse(true);
      proxy.cutAll();
      await until(() => telemetry.health().state === "unavailable");
      proxy.refuse(false);
      await until(() => telemetry.health().ready && pool.state.open === 1);
    } finally {
      pulse.stop();
      await pool.close(1000);
      telemetry.close();
    }
  });
});

describe("Probes", () => {
  const ready = new MemoryStreamStorage();
  const dead: HealthSource = {
    health: () => ({ ...ready.health(), ready: false, state: "lost" }),
  };

  it("are answered with the store's health", async () => {
    const handler = healthHandler(ready);
    for (const path of ["/readyz", "/livez"]) {
      const answer = handler(new Request(`http://host${path}?verbose`));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("content-type"), "application/json");
      assert.equal(answer.headers.get("cache-control"), "no-store");
      assert.deepEqual(await answer.json(), ready.health());
      const head = await probe(handler, path, "HEAD");
      assert.deepEqual(head, { status: 200, body: "" });
      assert.equal((await probe(handler, path, "POST")).status, 405);
    }
    for (const path of ["/", "/readyz/", "/metrics", "//readyz"]) {
      assert.equal((await probe(handler, path)).status, 404, path);
    }
  });

  it("fail if one of several stores is not healthy", async () => {
    const handler = healthHandler(ready, dead);
    for (const path of ["/readyz", "/livez"]) {
      assert.deepEqual(await probe(handler, path), {
        status: 503,
        body: { ready: false, stores: [ready.health(), dead.health()] },
      });
      assert.equal((await probe(handler, path, "HEAD")).status, 503);
    }
    assert.deepEqual(await statuses(ready, ready), [200, 200]);
    assert.deepEqual(await statuses(), [200, 200]);
  });

  it("are answered while a store is being opened", async () => {
    const opening = Promise.withResolvers<HealthSource>();
    const handler = healthHandler(opening.promise);
    const first = await probe(handler, "/readyz");
    assert.equal(first.status, 503);
    assert.equal((first.body as StorageHealth).state, "opening");
    assert.equal((await probe(handler, "/livez")).status, 200);
    opening.resolve(ready);
    await opening.promise;
    assert.equal((await probe(handler, "/readyz")).status, 200);
    const failing = Promise.reject(new Error("no such host"));
    const failed = healthHandler(failing);
    await assert.rejects(failing);
    const answer = await probe(failed, "/livez");
    assert.equal(answer.status, 503);
    assert.equal((answer.body as StorageHealth).state, "failed");
    assert.ok(!JSON.stringify(answer.body).includes("host"));
  });

  it("work with the runtime's own server and with node:http", async () => {
    const handler = healthHandler(ready);
    const native = serve(handler);
    const server = createServer((request, response) => {
      const { method = "GET", url } = request;
      const answer = handler(new Request(`http://host${url}`, { method }));
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      void answer.text().then((text) => response.end(text));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    try {
      for (const url of [native.url, `http://127.0.0.1:${port}`]) {
        const answer = await fetch(`${url}/readyz`);
        assert.equal(answer.status, 200);
        assert.deepEqual(await answer.json(), ready.health());
        const head = await fetch(`${url}/livez`, { method: "HEAD" });
        assert.deepEqual([head.status, await head.text()], [200, ""]);
      }
    } finally {
      await native.stop();
      server.close();
    }
  });
});
