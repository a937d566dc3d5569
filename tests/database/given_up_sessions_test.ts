/**
 * Given-up sessions stay on a real server until it ends them. A store never has
 * more than its pools may have, and its pools share the sessions that they get.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { CrashServer } from "../support/servers/crash_server.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { Pool } from "../../src/database/pool.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { testSession } from "../support/sessions.ts";
import { untilSeen } from "../support/until.ts";

describe("Sessions on a server", () => {
  let server: CrashServer;
  before(async () => {
    server = await CrashServer.start();
  });
  after(async () => {
    await setStandby("");
    await server[Symbol.asyncDispose]();
  });

  function open(
    options: Partial<Parameters<typeof openStreamStorage>[0]> = {},
  ): Promise<PostgresStreamStorage> {
    return openStreamStorage({
      url: server.url,
      schema: "given_up",
      partitions: 1,
      startupDelayMs: 0,
      maxConnections: 5,
      workerConcurrency: 0,
      ...options,
    });
  }

  /** How many sessions of a store the server has. */
  async function sessions(): Promise<number> {
    const [row] = await server.query(
      `SELECT count(*) FROM pg_stat_activity
       WHERE application_name = 'stream-storage'`,
    );
    return Number(Object.values(row!)[0]);
  }

  async function setStandby(names: string): Promise<void> {
    await server.query(
      `ALTER SYSTEM SET synchronous_standby_names = '${names}'`,
    );
    await server.query("SELECT pg_reload_conf()");
  }

  it("that waits for its standby are hardly more than the pool's limit", async () => {
    await server.query("CREATE TABLE waited (id int)");
    await setStandby("nobody");
    const max = 2;
    const pool = new Pool({
      connect: () => testSession({ url: server.url, answerTimeoutMs: 300 }),
      max,
      depth: 1,
      maxWaiting: 100,
      acquireTimeoutMs: 60_000,
      reconnect: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const insert = bind(statement({ text: "INSERT INTO waited VALUES (1)" }));
    const counts: number[] = [];
    const writes = Array.from({ length: 24 }, async () => {
      await assert.rejects(pool.run([insert], "write"), ConnectionLostError);
      counts.push(await sessions());
    });
    await Promise.all(writes);
    // The pool may have one more, with which it tries the server again.
    assert.ok(Math.max(...counts) <= max + 1, `Sessions: ${counts}`);
    await setStandby("");
    await pool.run([insert], "write");
    await pool.close(10_000);
    await untilSeen(async () => await sessions() === 0);
  });

  it("that admits fewer than the store's limit serve all of its pools", async () => {
    const role = `few_${randomUUID().slice(0, 8)}`;
    await server.query(
      `CREATE ROLE ${role} LOGIN PASSWORD '${role}' CONNECTION LIMIT 2`,
    );
    await server.query(`GRANT CREATE ON DATABASE postgres TO ${role}`);
    const url = new URL(server.url);
    url.username = url.password = role;
    const storage = await open({ url: url.href, schema: role });
    const ids = [];
    for (let round = 0; round < 5; round++) {
      const id = newStreamId();
      ids.push(id);
      await storage.createStreamStorage(id, snapshotBlock(0));
      await storage.getLastMiniblockNumber(id);
    }
    // Both pools need sessions now, and neither may wait for ever.
    await Promise.all(ids.map(async (id) => {
      await storage.writeEvent(id, 1n, 0, new Uint8Array([1]));
      await storage.getLastMiniblockNumber(id);
    }));
    await storage.close();
  });
});
