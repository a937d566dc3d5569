/**
 * Sessions that live but can't do their work, on a real server: they are inside
 * a transaction that a proxy has begun, or read-only since their start.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { startBegunProxy } from "../support/network/begun_proxy.ts";
import {
  createTestDatabase,
  queryOnce,
  testDatabaseUrl,
  uniqueName,
} from "../support/database.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

describe("A proxy that has a transaction open", () => {
  for (const way of ["url", "ownershipUrl", "both"] as const) {
    it(`is refused as ${way}`, async () => {
      const direct = await testDatabaseUrl();
      await using proxy = await startBegunProxy(direct);
      const schema = uniqueName("begun");
      const opened = openStreamStorage({
        url: way === "ownershipUrl" ? direct : proxy.url,
        ownershipUrl: way === "url" ? direct : proxy.url,
        schema,
        partitions: 1,
        startupDelayMs: 0,
      });
      await assert.rejects(
        opened,
        (error) =>
          isStreamStorageError(error) && error.code === "BAD_CONFIG" &&
          error.details.reason === "transaction_open",
      );
      await queryOnce(direct, `DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    });
  }

  it("gets no write of an open store acknowledged", async () => {
    const direct = await testDatabaseUrl();
    await using proxy = await startBegunProxy(direct);
    proxy.isOn = false;
    await using test = await openTestStorage({
      url: proxy.url,
      ownershipUrl: direct,
      operationTimeoutMs: 2000,
    });
    const { storage } = test;
    const known = newStreamId();
    await storage.createStreamStorage(known, snapshotBlock(0));
    proxy.isOn = true;
    proxy.cut();
    const id = newStreamId();
    const calls = [
      storage.createStreamStorage(id, snapshotBlock(0)),
      storage.writeEvent(known, 1n, 0, new Uint8Array([1])),
      storage.getLastMiniblockNumber(known),
    ];
    for (const call of await Promise.allSettled(calls)) {
      assert.equal(call.status, "rejected");
      assert.ok(isStreamStorageError(call.reason), String(call.reason));
    }
    proxy.isOn = false;
    // The store can look the writes up now, and finds that none was done.
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(known, 1n, 0, new Uint8Array([1]));
  });
});

describe("A database that was read-only for a while", () => {
  it("is written to again, and keeps no row of the store's ownership", async () => {
    const direct = await testDatabaseUrl();
    await using database = await createTestDatabase();
    const { url } = database;
    const name = new URL(url).pathname.slice(1);
    const storage = await openStreamStorage({
      url,
      schema: "stopped",
      partitions: 1,
      startupDelayMs: 0,
      workerConcurrency: 0,
      operationTimeoutMs: 1000,
    });
    const create = () =>
      storage.createStreamStorage(newStreamId(), snapshotBlock(0));
    const setReadOnly = (value: "on" | "off") =>
      queryOnce(
        direct,
        `ALTER DATABASE ${name} SET default_transaction_read_only = ${value}`,
      );
    await create();
    await setReadOnly("on");
    // All sessions reconnect while it is read-only, including the lock session.
    const { rows } = await endSessions(direct, name);
    assert.ok(rows.length >= 2);
    await assert.rejects(create(), (error) => isStreamStorageError(error));
    while (await lockSessions(direct, name) === 0);
    await setReadOnly("off");
    const isWritten = () => create().then(() => true, () => false);
    for (let tries = 1; !await isWritten(); tries++) assert.ok(tries < 10);
    await storage.close();
    const left = await queryOnce(url, "SELECT FROM stopped.singlenodekey");
    assert.equal(left.length, 0);
  });
});

async function endSessions(
  direct: string,
  database: string,
): Promise<{ rows: unknown[] }> {
  const rows = await queryOnce(
    direct,
    `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
     WHERE datname = '${database}'`,
  );
  return { rows };
}

/** Sessions of the database that hold an advisory lock. */
async function lockSessions(direct: string, name: string): Promise<number> {
  await using session = await testSession({ url: direct });
  const rows = await session.script(
    `SELECT FROM pg_locks JOIN pg_database ON database = pg_database.oid
     WHERE locktype = 'advisory' AND granted AND datname = '${name}'`,
  );
  return rows.length;
}
