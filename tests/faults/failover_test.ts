/**
 * A URL with two hosts, on two real servers without replication: a store finds
 * the one that takes writes, and moves there. A full disk, real and simulated.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { CrashServer } from "../support/servers/crash_server.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);
const settings = { fsync: "off" };
const run = promisify(execFile);

/** A URL for both in libpq's form, which wants the first that takes writes. */
function urlOf(first: CrashServer, second: CrashServer): string {
  const url = first.url.replace(
    `:${first.port}/`,
    `:${first.port},127.0.0.1:${second.port}/`,
  );
  return `${url}&target_session_attrs=read-write`;
}

function open(url: string, schema = "failover") {
  return openStreamStorage({
    url,
    schema,
    partitions: 1,
    startupDelayMs: 0,
    // No session for a worker: it would notice a move only a minute later.
    maxConnections: 4,
  });
}

/** Whether any store is connected to the server. */
async function isUsing(server: CrashServer): Promise<boolean> {
  const [row] = await server.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity
     WHERE application_name = 'stream-storage'`,
  );
  return Number(row?.n) > 0;
}

/** Whether any store owns a schema on the server. */
async function isLocked(server: CrashServer): Promise<boolean> {
  const [row] = await server.query(
    "SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory'",
  );
  return Number(row?.n) > 0;
}

describe("A URL with two hosts", () => {
  it("leads to the second host if the first is dead or read-only", async () => {
    await using first = await CrashServer.start({ settings });
    await using second = await CrashServer.start({ settings });
    const url = urlOf(first, second);
    await first.set("default_transaction_read_only", "on");
    {
      await using storage = await open(url, "read_only");
      await storage.createStreamStorage(newStreamId(), genesis);
      assert.ok(await isUsing(second));
      assert.equal(await isUsing(first), false);
    }
    await first.crash();
    await using storage = await open(url, "dead");
    await storage.createStreamStorage(newStreamId(), genesis);
    assert.ok(await isUsing(second));
  });

  it("leads an open store's owner, reads and writes to the second host", async () => {
    await using first = await CrashServer.start({ settings });
    await using stack = new AsyncDisposableStack();
    // The second server, whose port is still closed.
    await using place = await CrashServer.start({ settings });
    await place.stop();
    const storage = stack.use(await open(urlOf(first, place)));
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await storage.writeEvent(id, 1n, 0, event);
    await first.stop();
    await place.copy(first);
    await first.restart();
    await storage.writeEvent(id, 1n, 1, event);
    await untilSeen(() => isLocked(first)); // the owner is back, too
    await place.restart();
    // Its sessions stay open, but take no more writes.
    await first.set("default_transaction_read_only", "on");
    // The second server was copied before the event in slot 1.
    await Promise.all(
      Array.from(
        { length: 8 },
        (_, i) => storage.writeEvent(id, 1n, 1 + i, event),
      ),
    );
    await untilUnused(first, storage, id);
    await untilSeen(() => isLocked(place)); // the owner moved, too
    assert.equal(await eventsOn(place, id), 9);
    assert.equal(await eventsOn(first, id), 2);
    // On the second host the store is notified of another starter.
    await using next = await open(place.url);
    await aborted(storage.signal);
    await next.writeEvent(id, 1n, 9, event);
    // The death of the first server no longer matters.
    await first.crash();
    await next.writeEvent(id, 1n, 10, event);
  });
});

async function eventsOn(server: CrashServer, id: StreamId): Promise<number> {
  const [row] = await server.query(
    `SELECT count(*)::int AS n FROM failover.minipools_r00
     WHERE stream_id = '${id}' AND slot_num >= 0`,
  );
  return Number(row?.n);
}

/** Each session notices at its next call; the owner's makes calls by itself. */
async function untilUnused(
  server: CrashServer,
  storage: { getLastMiniblockNumber(id: StreamId): Promise<bigint> },
  id: StreamId,
): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (await isUsing(server)) {
    assert.ok(performance.now() < deadline, "Expected the first to be left");
    await storage.getLastMiniblockNumber(id);
  }
}

const canMount = process.platform === "linux" && process.geteuid?.() === 0 &&
  await mountTmpfs().then(
    async (mount) => {
      await mount[Symbol.asyncDispose]();
      return true;
    },
    () => false,
  );

/** Mounts a disk of 6 MB, which needs root. */
async function mountTmpfs(
  owner = 0,
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "stream-storage-disk-"));
  const remove = () => rm(path, { recursive: true, force: true });
  try {
    const options = `size=6m,uid=${owner},mode=0755`;
    await run("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path]);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await run("umount", [path]);
      await remove();
    },
  };
}

const isFull = (error: unknown): true => {
  assert.ok(isStreamStorageError(error, "UNAVAILABLE"), String(error));
  assert.equal(error.details.reason, "disk_full");
  assert.equal(error.details.sqlState, "53100");
  assert.equal(error.outcome, "rolled_back");
  assert.ok(error.retryable);
  return true;
};

describe("A server that reports a full disk", () => {
  it("fails writes with disk_full until it accepts them again", async () => {
    await using test = await openTestStorage({ partitions: 1 });
    const { storage, schema, url } = test;
    const ids = Array.from({ length: 4 }, () => newStreamId());
    await Promise.all(
      ids.map((id) => storage.createStreamStorage(id, genesis)),
    );
    await using session = await testSession({ url });
    await session.script(
      `CREATE FUNCTION ${schema}.no_room() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$;
       CREATE TRIGGER no_room BEFORE INSERT ON ${schema}.minipools_r00
         FOR EACH ROW EXECUTE FUNCTION ${schema}.no_room()`,
    );
    for (const call of ids.map((id) => storage.writeEvent(id, 1n, 0, event))) {
      await assert.rejects(call, isFull);
    }
    await session.script(`DROP TRIGGER no_room ON ${schema}.minipools_r00`);
    await Promise.all(ids.map((id) => storage.writeEvent(id, 1n, 0, event)));
  });
});

describe("A full disk", {
  skip: canMount ? false : "needs root and Linux, to mount a small one",
}, () => {
  it("fails writes with disk_full until there is room", async () => {
    const stack = new AsyncDisposableStack();
    await using _ = stack;
    const server = await CrashServer.start({ settings });
    const owner = (await stat(server.dataDir)).uid;
    const disk = await mountTmpfs(owner);
    // The server must be removed before its disk.
    stack.use(disk);
    stack.use(server);
    const ballast = join(disk.path, "ballast");
    const data = join(disk.path, "data");
    await run("mkdir", [data]);
    await run("chown", [String(owner), data]);
    await server.query(`CREATE TABLESPACE small LOCATION '${data}'`);
    await server.query("ALTER ROLE crash SET default_tablespace = small");
    const storage = stack.use(await open(server.url));
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await writeFile(ballast, new Uint8Array(2_000_000));
    const large = new Uint8Array(200_000);
    let slot = 0;
    const full = async () => {
      for (; slot < 100; slot++) {
        await storage.writeEvent(id, 1n, slot, large);
      }
    };
    await assert.rejects(full(), isFull);
    const { minipoolEvents } = await storage.debugReadStreamStatistics(id);
    assert.equal(minipoolEvents, slot);
    await rm(ballast);
    await storage.writeEvent(id, 1n, slot, large);
  });
});
