/**
 * Conditions that operators of such systems have reported in public, reproduced
 * with real servers, proxies and disks. docs/field_reports.md names the reports
 * and says what the store does.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import pg from "pg";
import { CrashServer } from "../support/servers/crash_server.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { Logger } from "../../src/telemetry/log_events.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { queryOnce, testDatabaseUrl } from "../support/database.ts";
import { startHaProxy, whyNoHaProxy } from "../support/poolers/haproxy.ts";
import { portOf } from "../support/network/listener.ts";
import { startPgBouncer } from "../support/poolers/pgbouncer.ts";
import { openTestStorage } from "../support/storage.ts";
import { until, untilSeen } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);

function open(
  url: string,
  options: Partial<StreamStorageOptions> = {},
): Promise<PostgresStreamStorage> {
  return openStreamStorage({
    url,
    schema: "reported",
    partitions: 1,
    startupDelayMs: 0,
    workerConcurrency: 0,
    maxConnections: 5,
    ...options,
  });
}

async function refusal(opening: Promise<unknown>): Promise<StreamStorageError> {
  const error = await opening.then(() => undefined, (error) => error);
  assert.ok(isStreamStorageError(error), String(error));
  return error;
}

/** Retries the work until it succeeds; every error must allow a retry. */
async function persist<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      assert.ok(isStreamStorageError(error), String(error));
      assert.ok(error.retryable, String(error));
    }
  }
}

/** Writers, each with a stream of its own, that continue after every error. */
class Writers {
  readonly acknowledged = new Map<StreamId, number>();
  readonly errors: StreamStorageError[] = [];
  #isOver = false;
  readonly #work: Promise<unknown>;

  constructor(storage: PostgresStreamStorage, count: number) {
    this.#work = Promise.all(
      Array.from({ length: count }, () => this.#write(storage)),
    );
  }

  get written(): number {
    return [...this.acknowledged.values()].reduce((sum, n) => sum + n, 0);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#work;
  }

  async #write(storage: PostgresStreamStorage): Promise<void> {
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    this.acknowledged.set(id, 0);
    for (let slot = 0; !this.#isOver;) {
      try {
        await storage.writeEvent(id, 1n, slot, event);
        this.acknowledged.set(id, ++slot);
      } catch (error) {
        assert.ok(isStreamStorageError(error), String(error));
        this.errors.push(error);
        // A write with an unknown outcome may have been stored.
        if (error.outcome === "unknown") {
          slot = (await persist(() => storage.debugReadStreamStatistics(id)))
            .minipoolEvents;
          this.acknowledged.set(id, slot);
        }
      }
    }
  }
}

async function assertStored(
  storage: PostgresStreamStorage,
  { acknowledged }: Writers,
): Promise<void> {
  for (const [id, events] of acknowledged) {
    const stored = await persist(() => storage.debugReadStreamStatistics(id));
    assert.equal(stored.minipoolEvents, events);
  }
}

describe("A store works with a server that", () => {
  it("ends idle sessions (idle_session_timeout)", async () => {
    await using server = await CrashServer.start({
      settings: { fsync: "off" },
    });
    await server.query("CREATE ROLE idle SUPERUSER LOGIN PASSWORD 'idle'");
    await server.query("ALTER ROLE idle SET idle_session_timeout = '200ms'");
    const url = new URL(server.url);
    url.username = url.password = "idle";
    const events: string[] = [];
    const logger: Logger = ({ code }) => void events.push(code);
    // On a busy machine, opening may pause for that long between two steps.
    await using storage = await persist(() => open(url.href, { logger }));
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    // Every session was idle for five times as long as this server allows.
    const rested = `SELECT count(*) > 1
        AND bool_and(state_change < now() - interval '1 s') AS ok
      FROM pg_stat_activity WHERE usename = 'idle'`;
    for (let slot = 0; slot < 3; slot++) {
      await untilSeen(async () => (await server.query(rested))[0]?.ok === true);
      await storage.writeEvent(id, 1n, slot, event);
      assert.equal(await storage.getStreamsNumber(), 1);
    }
    assert.equal(storage.signal.aborted, false);
    assert.ok(!events.includes("ownership_session_lost"));
  });

  it("has few locks (max_locks_per_transaction), even with 256 partitions", async () => {
    await using server = await CrashServer.start({
      settings: {
        fsync: "off",
        max_connections: "20",
        max_locks_per_transaction: "10",
      },
    });
    await using storage = await open(server.url, { partitions: 256 });
    assert.equal(storage.partitions, 256);
    await storage.createStreamStorage(newStreamId(), genesis);
    assert.equal((await storage.getStreams()).length, 1);
  });

  it("has a full queue of notifications, although no new store opens", async () => {
    await using server = await CrashServer.start({
      settings: { fsync: "off", max_notify_queue_pages: "64" },
    });
    await using storage = await open(server.url);
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    // One session listens and never ends its transaction; another one notifies.
    const held = new pg.Client({ connectionString: server.url });
    held.on("error", () => {});
    await held.connect();
    try {
      await held.query("LISTEN talk");
      await held.query("BEGIN");
      await assert.rejects(async () => {
        for (;;) {
          await server.query(
            "SELECT pg_notify('talk', repeat('x', 7000) || i) FROM generate_series(1, 20) AS i",
          );
        }
      }, /too many notifications/);
      await storage.writeEvent(id, 1n, 0, event);
      const error = await refusal(open(server.url));
      assert.equal(error.details.sqlState, "54000", String(error));
      assert.match(error.message, /too many notifications/);
      // The failed opening took nothing from the owner.
      await storage.writeEvent(id, 1n, 1, event);
      assert.equal(storage.signal.aborted, false);
    } finally {
      await held.end();
    }
    // Since PostgreSQL 13 only a call like this one shortens a full queue.
    await server.query("SELECT pg_notification_queue_usage()");
    await using next = await open(server.url);
    assert.equal((await next.debugReadStreamStatistics(id)).minipoolEvents, 2);
  });

  it("ends all sessions again and again (pg_terminate_backend)", async () => {
    await using server = await CrashServer.start({
      settings: { fsync: "off" },
    });
    await using storage = await open(server.url, { applicationName: "ended" });
    const writers = new Writers(storage, 8);
    for (let round = 0; round < 10; round++) {
      const before = writers.written;
      await until(() => writers.written > before + 8);
      await server.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
          WHERE application_name = 'ended'`,
      );
    }
    await writers.end();
    await assertStored(storage, writers);
    assert.equal(storage.signal.aborted, false);
  });

  it("changes the role's password, once the old one is back", async () => {
    await using server = await CrashServer.start({
      settings: { fsync: "off" },
    });
    await server.query("CREATE ROLE rotated SUPERUSER LOGIN PASSWORD 'first'");
    const url = new URL(server.url);
    url.username = "rotated";
    url.password = "first";
    await using storage = await open(url.href, { operationTimeoutMs: 1000 });
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await server.query("ALTER ROLE rotated PASSWORD 'second'");
    await server.query(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'rotated'",
    );
    // A write in flight may fail with a lost connection. A later one reports the
    // refused login.
    for (;;) {
      const error = await refusal(storage.writeEvent(id, 1n, 0, event));
      assert.notEqual(error.outcome, "committed");
      assert.ok(!error.message.includes("first"));
      if (error.code === "BAD_CONFIG") break;
    }
    await server.query("ALTER ROLE rotated PASSWORD 'first'");
    for (;;) {
      const error = await storage.writeEvent(id, 1n, 0, event)
        .catch((error) => error);
      if (error === undefined) break;
      assert.ok(isStreamStorageError(error), String(error));
    }
    assert.equal(
      (await storage.debugReadStreamStatistics(id)).minipoolEvents,
      1,
    );
    assert.equal(storage.signal.aborted, false);
  });
});

const whyNoDisk = process.platform === "linux" && process.getuid?.() === 0
  ? undefined
  : "a small disk needs Linux and root";

describe("A store on a disk", () => {
  it("that is full fails writes with disk_full until there is room", {
    skip: whyNoDisk,
  }, async () => {
    const disk = mkdtempSync(join(tmpdir(), "stream-storage-disk-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m", "none", disk]);
    try {
      await using server = await CrashServer.start({
        settings: { fsync: "off" },
      });
      // A tablespace, because the server stops if the disk of its log is full.
      const [owner] = await server.query(
        "SELECT (pg_stat_file('base')).isdir AS is_dir",
      );
      assert.ok(owner?.is_dir);
      execFileSync("chown", ["--reference", server.dataDir, disk]);
      await server.query(`CREATE TABLESPACE small LOCATION '${disk}'`);
      await server.query(
        "ALTER DATABASE postgres SET default_tablespace = 'small'",
      );
      await using storage = await open(server.url);
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      // Random bytes, because the server would compress others.
      const large = Uint8Array.from(
        { length: 1_000_000 },
        () => Math.random() * 256,
      );
      let slot = 0;
      const error = await refusal((async () => {
        for (;; slot++) await storage.writeEvent(id, 1n, slot, large);
      })());
      assert.equal(error.code, "UNAVAILABLE");
      assert.equal(error.details.reason, "disk_full");
      assert.equal(error.outcome, "rolled_back");
      assert.ok(error.retryable);
      // Reads work, and return exactly the acknowledged events.
      const stored = await storage.readStreamFromLastSnapshot(id, 0);
      assert.equal(stored.minipoolEnvelopes.length, slot);
      execFileSync("mount", ["-o", "remount,size=96m", disk]);
      await storage.writeEvent(id, 1n, slot, large);
    } finally {
      execFileSync("umount", ["-l", disk]);
      rmSync(disk, { recursive: true });
    }
  });
});

describe("A store works behind a proxy or pooler that", () => {
  it("cuts idle connections (HAProxy)", { skip: whyNoHaProxy() }, async () => {
    await using proxy = await startHaProxy(await testDatabaseUrl(), {
      idleMs: 300,
    });
    const events: string[] = [];
    await using test = await openTestStorage({
      url: proxy.url,
      logger: ({ code }) => events.push(code),
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const times = (code: string) => events.filter((one) => one === code).length;
    for (let slot = 0; slot < 4; slot++) {
      const before = times("ownership_session_back");
      await until(() => times("ownership_session_back") > before);
      await persist(() => storage.writeEvent(id, 1n, slot, event));
    }
    assert.equal(
      (await storage.debugReadStreamStatistics(id)).minipoolEvents,
      4,
    );
    assert.equal(storage.signal.aborted, false);
  });

  it("is paused for maintenance (PgBouncer)", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl(), {
      query_wait_timeout: 1,
    });
    await using test = await openTestStorage({
      url: pooler.url,
      ownershipUrl: await testDatabaseUrl(),
      preparedStatements: false,
      operationTimeoutMs: 1000,
    });
    const { storage } = test;
    const writers = new Writers(storage, 8);
    await until(() => writers.written > 50);
    await queryOnce(pooler.consoleUrl, "PAUSE");
    await until(() => writers.errors.length > 0);
    await queryOnce(pooler.consoleUrl, "RESUME");
    const before = writers.written;
    await until(() => writers.written > before + 50);
    await writers.end();
    for (const error of writers.errors) {
      assert.match(error.code, /^(UNAVAILABLE|DEADLINE_EXCEEDED)$/);
      assert.ok(error.retryable);
    }
    await assertStored(storage, writers);
  });

  it("shares sessions only if prepared statements are off", async () => {
    await using pooler = await startPgBouncer(await testDatabaseUrl());
    const error = await refusal(openTestStorage({
      url: pooler.url,
      ownershipUrl: await testDatabaseUrl(),
      preparedStatements: true,
    }));
    assert.equal(error.code, "BAD_CONFIG");
    assert.match(error.message, /preparedStatements: must be false/);
  });

  it("lets a third of all logins hang", async () => {
    const target = new URL(await testDatabaseUrl());
    const sockets = new Set<Socket>();
    let accepted = 0;
    let isOver = false;
    const proxy = createServer((client) => {
      const hangs = ++accepted % 3 === 0 && !isOver;
      sockets.add(client.on("error", () => {}));
      if (hangs) return;
      const server = connect(Number(target.port), target.hostname);
      sockets.add(server.on("error", () => {}));
      client.pipe(server).pipe(client);
      server.once("close", () => client.destroy());
      client.once("close", () => server.destroy());
    });
    await new Promise<void>((resolve) =>
      proxy.listen(0, "127.0.0.1", () => resolve())
    );
    try {
      const url = new URL(target);
      url.port = String(portOf(proxy));
      url.search = "sslmode=disable&connect_timeout=1";
      await using test = await persist(() =>
        openTestStorage({ url: url.href, operationTimeoutMs: 2000 })
      );
      const writers = new Writers(test.storage, 16);
      for (let round = 0; round < 3; round++) {
        const before = writers.written;
        await until(() => writers.written > before + 100);
        for (const socket of sockets) socket.destroy();
        sockets.clear();
      }
      await writers.end();
      await assertStored(test.storage, writers);
      // Only one login drops the schema, and it must not hang.
      isOver = true;
    } finally {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    }
  });
});
