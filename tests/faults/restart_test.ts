/**
 * The server goes away and comes back: what callers are told meanwhile, and
 * that everything goes on by itself. How much outlives it: faults/crash_test.ts.
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
  // A write must not get lost by itself, but it need not wait for the disk.
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

/** What callers may be told while the server is away. */
function assertAway(error: unknown): asserts error is StreamStorageError {
  assert.ok(isStreamStorageError(error), String(error));
  assert.match(error.code, /^(UNAVAILABLE|DEADLINE_EXCEEDED)$/);
  assert.ok(error.retryable);
  assert.notEqual(error.outcome, "committed");
}

/** Writes one event after the other; believes what it is told, and checks. */
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

  /** There wholly or not at all. */
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

describe("A server that is restarted", () => {
  for (const how of ["stop", "crash"] as const) {
    it(`(${how}) under load: callers are told the truth, then it goes on`, async () => {
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
      // Who is told nothing certain writes no more until it can look.
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

  it("hides a short absence from callers", async () => {
    await using storage = await open();
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await server.stop();
    const write = storage.writeEvent(id, 1n, 0, event);
    await server.restart();
    await write;
    assert.equal(await eventsOf(storage, id), 1);
  });

  it("can be left for good while it is away", async () => {
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

  it("lets nobody write whose ownership has gone meanwhile", async () => {
    await using proxy = await startProxy(server.url);
    await using storage = await open({ url: proxy.url });
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const { schema } = storage;
    proxy.refuse(true);
    await server.crash();
    await server.restart();
    // Before the store is back, and nobody is there to hear of it.
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

  it("is not met by a storm of connections", async () => {
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
    // Nobody gets in, however many ask again and again.
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
    // Pools and the owner: some at once, then each less than 2 a second.
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

describe("A server whose client is gone without a word", {
  skip: existsSync("/proc/net/tcp") ? false : "needs Linux",
}, () => {
  it("asks for it within seconds, and not in two hours", async () => {
    await using storage = await open();
    await storage.createStreamStorage(newStreamId(), genesis);
    await storage.getStreamsNumber();
    let timers: number[] = [];
    // The owner's session, a writer's and a reader's at least. One whose last answer
    // was not confirmed yet has another timer for a moment.
    await untilSeen(async () => {
      timers = await keepaliveTimers(server.port);
      return timers.length >= 3;
    });
    for (const seconds of timers) assert.ok(seconds <= 10, `${seconds} s`);
  });
});

/** Every session of the server, and for how long it may be silent yet. */
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
    // Anything but a keepalive timer is shorter.
    if (kind === "02") timers.push(Number.parseInt(when!, 16) / 100);
  }
  return timers;
}

describe("A server that lives but refuses", () => {
  it("ends all sessions at once, again and again: nobody is told", async () => {
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

  it("has too many connections: says so, and goes on when there is room", async () => {
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
      // What it has got it keeps, and works with.
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
    client.on("error", () => {}); // its end is no matter
    try {
      await client.connect();
    } catch {
      return taken;
    }
    stack.defer(() => client.end());
  }
}
