/**
 * A real server stops, crashes, refuses or forgets its clients: which errors the
 * callers get meanwhile, and that the store recovers by itself. crash_test.ts
 * proves that acknowledged writes are kept.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { CrashServer } from "../support/servers/crash_server.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { startProxy } from "../support/network/proxy.ts";
import { untilSeen } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);

let server: CrashServer;
let schemas = 0;

before(async () => {
  // Only the process dies, not the machine, so writes need not reach the disk.
  server = await CrashServer.start({ settings: { fsync: "off" } });
});
after(async () => await server?.[Symbol.asyncDispose]());

function open(
  options: Partial<StreamStorageOptions> = {},
): Promise<PostgresStreamStorage> {
  return openStreamStorage({
    url: server.url,
    schema: `restart_${schemas++}`,
    partitions: 1,
    startupDelayMs: 0,
    maxConnections: 5,
    ...options,
  });
}

async function eventsOf(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<number> {
  return (await storage.debugReadStreamStatistics(id)).minipoolEvents;
}

/** Checks that callers may get this error while the server is away. */
function assertAway(error: unknown): asserts error is StreamStorageError {
  assert.ok(isStreamStorageError(error), String(error));
  assert.match(error.code, /^(UNAVAILABLE|DEADLINE_EXCEEDED)$/);
  assert.ok(error.retryable);
  assert.notEqual(error.outcome, "committed");
}

/**
 * Writes one event after the other. After an unknown outcome it reads whether
 * the event is there.
 */
class Caller {
  readonly counts = { acknowledged: 0, failed: 0 };
  readonly #storage: PostgresStreamStorage;
  readonly #id = newStreamId();
  #slot = 0;

  constructor(storage: PostgresStreamStorage) {
    this.#storage = storage;
  }

  async start(): Promise<void> {
    await this.#storage.createStreamStorage(this.#id, genesis);
  }

  async write(): Promise<void> {
    try {
      await this.#storage.writeEvent(this.#id, 1n, this.#slot, event);
      this.#slot++;
      this.counts.acknowledged++;
    } catch (error) {
      assertAway(error);
      this.counts.failed++;
      if (error.outcome === "unknown") await this.#find();
    }
  }

  /** The event must be there completely or not at all. */
  async #find(): Promise<void> {
    for (;;) {
      try {
        const stored = await eventsOf(this.#storage, this.#id);
        assert.ok(stored === this.#slot || stored === this.#slot + 1);
        this.#slot = stored;
        return;
      } catch (error) {
        assertAway(error);
      }
    }
  }

  async check(): Promise<void> {
    assert.equal(await eventsOf(this.#storage, this.#id), this.#slot);
  }
}

describe("A server that restarts", () => {
  for (const how of ["stop", "crash"] as const) {
    it(`after a ${how} under load causes only retryable errors, and no wrong result`, async () => {
      await using storage = await open({ retry: { attempts: 2 } });
      const callers = Array.from({ length: 6 }, () => new Caller(storage));
      await Promise.all(callers.map((caller) => caller.start()));
      let isOver = false;
      const load = Promise.all(callers.map(async (caller) => {
        while (!isOver) await caller.write();
      }));
      const more = async (what: "acknowledged" | "failed", calls: number) => {
        const counts = () =>
          callers.reduce((sum, { counts }) => sum + counts[what], 0);
        const wanted = counts() + calls;
        while (counts() < wanted) {
          await Promise.race([
            load,
            storage.getStreamsNumber().catch(() => {}),
          ]);
        }
      };
      await more("acknowledged", 20);
      // After an unknown outcome a caller writes nothing until it can read.
      const noticed = more("failed", callers.length);
      await server[how]();
      await noticed;
      await server.restart();
      await more("acknowledged", 20);
      isOver = true;
      await load;
      for (const caller of callers) await caller.check();
      assert.equal(storage.signal.aborted, false);
    });
  }

  it("quickly is not noticed by callers", async () => {
    await using storage = await open();
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await server.stop();
    const write = storage.writeEvent(id, 1n, 0, event);
    await server.restart();
    await write;
    assert.equal(await eventsOf(storage, id), 1);
  });

  it("does not hold up a store that is closed meanwhile", async () => {
    const storage = await open({ operationTimeoutMs: 1000 });
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await server.crash();
    const writes = Promise.allSettled(
      [0, 1, 2].map((slot) => storage.writeEvent(id, 1n, slot, event)),
    );
    await storage.close();
    for (const write of await writes) {
      assert.ok(write.status === "rejected");
      assertAway(write.reason);
    }
    await server.restart();
  });

  it("accepts no write from a store that lost its ownership meanwhile", async () => {
    await using proxy = await startProxy(server.url);
    await using storage = await open({ url: proxy.url });
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const { schema } = storage;
    proxy.refuse(true);
    await server.crash();
    await server.restart();
    // The store is not connected, so it gets no notification of the new owner.
    await server.query(
      `DELETE FROM ${schema}.singlenodekey;
       INSERT INTO ${schema}.singlenodekey
         (uuid, storage_connection_time, info) VALUES ('other', now(), '')`,
    );
    proxy.refuse(false);
    await assert.rejects(
      storage.writeEvent(id, 1n, 0, event),
      (error) =>
        isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
        error.details.reason === "ownership_lost" &&
        error.outcome === "rolled_back",
    );
    assert.ok(storage.signal.aborted);
    const [row] = await server.query(
      `SELECT count(*)::int AS n FROM ${schema}.minipools_r00`,
    );
    assert.equal(row?.n, 1);
  });

  it("is not flooded with connections", async () => {
    await using storage = await open({
      maxConnections: 20,
      operationTimeoutMs: 2000,
    });
    await server.stop();
    const attempts: number[] = [];
    const door = createServer((socket) => {
      attempts.push(performance.now());
      socket.destroy();
    });
    door.listen(server.port, "127.0.0.1");
    await once(door, "listening");
    // Every connection is refused, and callers keep trying.
    const started = performance.now();
    const callers = Array.from({ length: 200 }, async () => {
      while (performance.now() - started < 2000) {
        await assert.rejects(storage.getStreamsNumber(), assertAwayThen);
        await assert.rejects(
          storage.deleteStream(newStreamId()),
          assertAwayThen,
        );
      }
    });
    await Promise.all(callers);
    door.close();
    await once(door, "close");
    const seconds = (performance.now() - started) / 1000;
    // Both pools and the owner try some at once, then fewer than 2 a second each.
    assert.ok(attempts.length >= 3, `${attempts.length} attempts`);
    assert.ok(
      attempts.length <= 20 + 30 + 8 * seconds,
      `${attempts.length} attempts in ${seconds} s`,
    );
    const late = attempts.filter((at) => at > started + 1000).length;
    assert.ok(late <= 8 * (seconds - 1) + 8, `${late} late attempts`);
    await server.restart();
    await storage.createStreamStorage(newStreamId(), genesis);
    const [row] = await server.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity
       WHERE application_name = 'stream-storage'`,
    );
    assert.ok(Number(row?.n) <= 20);
  });
});

function assertAwayThen(error: unknown): true {
  assertAway(error);
  return true;
}

describe("A server whose client vanishes silently", {
  skip: existsSync("/proc/net/tcp") ? false : "needs Linux",
}, () => {
  it("probes for the client within seconds, not after two hours", async () => {
    await using storage = await open();
    await storage.createStreamStorage(newStreamId(), genesis);
    await storage.getStreamsNumber();
    let timers: number[] = [];
    // At least the sessions of the owner, of writes and of reads. For a moment,
    // a session whose last reply is unconfirmed has another timer.
    await untilSeen(async () => {
      timers = await keepaliveTimers(server.port);
      return timers.length >= 3;
    });
    for (const seconds of timers) assert.ok(seconds <= 10, `${seconds} s`);
  });
});

/** For each session of the server, the seconds until its next keepalive. */
async function keepaliveTimers(port: number): Promise<number[]> {
  const [, ...lines] = (await readFile("/proc/net/tcp", "utf8")).trim()
    .split("\n");
  const timers: number[] = [];
  for (const line of lines) {
    // Local address, remote address, state, queues, timer:when in 1/100 s.
    const [, local, , state, , timer] = line.trim().split(/\s+/);
    const isServer = Number.parseInt(local!.split(":")[1]!, 16) === port;
    if (!isServer || state !== "01") continue;
    const [kind, when] = timer!.split(":");
    // Other timers are shorter.
    if (kind === "02") timers.push(Number.parseInt(when!, 16) / 100);
  }
  return timers;
}

describe("A server that runs", () => {
  it("and ends all sessions again and again causes no error", async () => {
    await using storage = await open();
    const ids = Array.from({ length: 8 }, () => newStreamId());
    await Promise.all(
      ids.map((id) => storage.createStreamStorage(id, genesis)),
    );
    const kill = () =>
      server.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'stream-storage'`,
      );
    for (let slot = 0; slot < 20; slot++) {
      const writes = ids.map((id) => storage.writeEvent(id, 1n, slot, event));
      const reads = ids.map((id) => storage.getLastMiniblockNumber(id));
      if (slot % 4 === 1) await kill();
      await Promise.all([...writes, ...reads]);
    }
    for (const id of ids) assert.equal(await eventsOf(storage, id), 20);
    assert.equal(storage.signal.aborted, false);
  });

  it("and has no connections left makes an opening fail, while an open store still works", async () => {
    await using small = await CrashServer.start({
      settings: { max_connections: "8", superuser_reserved_connections: "0" },
    });
    await small.query(
      "CREATE ROLE plain LOGIN PASSWORD 'plain'; " +
        "GRANT ALL ON DATABASE postgres TO plain",
    );
    const url = new URL(small.url);
    url.username = url.password = "plain";
    await using storage = await open({ url: url.href, retry: { attempts: 3 } });
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    {
      await using others = new AsyncDisposableStack();
      await occupy(small.url, others);
      // The open store keeps its sessions and works with them.
      await Promise.all(
        Array.from(
          { length: 10 },
          (_, slot) => storage.writeEvent(id, 1n, slot, event),
        ),
      );
      await assert.rejects(open({ url: url.href }), isTooMany);
    }
    assert.equal(await eventsOf(storage, id), 10);
  });
});

const isTooMany = (error: unknown) =>
  isStreamStorageError(error, "UNAVAILABLE") && error.retryable &&
  error.details.reason === "too_many_connections" &&
  error.details.sqlState === "53300";

/** Takes every connection that the server has left. */
async function occupy(
  url: string,
  stack: AsyncDisposableStack,
): Promise<number> {
  const { default: pg } = await import("pg");
  for (let taken = 0;; taken++) {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {}); // how it ends does not matter
    try {
      await client.connect();
    } catch {
      return taken;
    }
    stack.defer(() => client.end());
  }
}
