/**
 * Takeovers on a real server: under load, during the start-up delay, from
 * former owners that are frozen or stuck, and by starters that die half way.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { partitionSuffixes } from "../../src/database/migrations/plan.ts";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { aborted } from "../support/aborted.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { ExistingNode } from "../support/existing_node.ts";
import {
  matchesFlush,
  startLateProxy,
} from "../support/late_copy/late_proxy.ts";
import { blocked, lockHolders, testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until, untilSeen } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);
const neverMs = 3_600_000;

async function openAgain(
  schema: string,
  options: Partial<StreamStorageOptions> = {},
): Promise<PostgresStreamStorage> {
  return await openStreamStorage({
    url: await testDatabaseUrl(),
    schema,
    startupDelayMs: 0,
    maxConnections: 4,
    ...options,
  });
}

const isLost = (error: unknown) =>
  isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
  error.details.reason === "ownership_lost";

/** Writes to many streams at once, until the store has lost its ownership. */
class Load {
  readonly counts = { acknowledged: 0, unknown: 0 };
  readonly ended: Promise<unknown>;

  constructor(storage: PostgresStreamStorage) {
    const streams = Array.from({ length: 16 }, async () => {
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      for (let slot = 0;; slot++) {
        await storage.writeEvent(id, 1n, slot, event);
        this.counts.acknowledged++;
      }
    });
    this.ended = Promise.all(streams.map((stream) =>
      stream.catch((error) => {
        assert.ok(isLost(error), String(error));
        if (error.outcome === "unknown") this.counts.unknown++;
      })
    ));
  }

  async more(writes: number): Promise<void> {
    const target = this.counts.acknowledged + writes;
    await until(() => this.counts.acknowledged >= target);
  }
}

async function storedEvents(session: Session, schema: string): Promise<number> {
  const parts = partitionSuffixes(2).map((suffix) =>
    `SELECT 1 FROM ${schema}.minipools_${suffix} WHERE slot_num >= 0`
  );
  const [row] = await session.script(
    `SELECT count(*) FROM (${parts.join(" UNION ALL ")}) AS event`,
  );
  return Number(row?.[0]);
}

/** Starts a node that owns the schema, and a store that waits for its lock. */
async function startBehindNode(
  schema: string,
  watcher: Session,
  signal?: AbortSignal,
): Promise<{ node: ExistingNode; opening: Promise<PostgresStreamStorage> }> {
  const node = await ExistingNode.start(schema);
  await node.takeRow();
  await node.lock();
  const opening = openAgain(schema, {
    startupDelayMs: neverMs,
    applicationName: schema,
    ...(signal && { signal }),
  });
  opening.catch(() => {}); // looked at later
  const hasAsked = `SELECT 1 FROM pg_stat_activity
    WHERE application_name = '${schema}' AND state = 'idle'
      AND query LIKE '%try_advisory_lock($1)%'`;
  await untilSeen(async () => (await watcher.script(hasAsked)).length > 0);
  return { node, opening };
}

/** Ends the node, and waits until another session holds the lock. */
async function passOn(
  node: ExistingNode,
  schema: string,
  watcher: Session,
): Promise<void> {
  const [old] = await lockHolders(watcher, schema);
  await node[Symbol.asyncDispose]();
  await untilSeen(async () => {
    const [holder] = await lockHolders(watcher, schema);
    return holder !== undefined && holder !== old;
  });
}

describe("An owner under load", () => {
  for (const isNotified of [true, false]) {
    const how = isNotified ? "is notified" : "misses the notification";
    it(`adds no event after its row is gone, if it ${how}`, async () => {
      await using ours = await openTestStorage({ partitions: 2 });
      const { storage, schema } = ours;
      await using watcher = await testSession({ url: ours.url });
      const load = new Load(storage);
      await load.more(100);
      await using node = await ExistingNode.start(schema);
      if (!isNotified) {
        await watcher.script(
          `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER`,
        );
      }
      await node.takeRow();
      const stored = await storedEvents(watcher, schema);
      await load.ended;
      await aborted(storage.signal);
      assert.equal(await storedEvents(watcher, schema), stored);
      const { acknowledged, unknown } = load.counts;
      assert.ok(acknowledged <= stored && stored <= acknowledged + unknown);
      await node.lock();
    });
  }

  it("loses the schema to the next owner, four times, and the last one writes", async () => {
    await using first = await openTestStorage({ partitions: 2 });
    await using stack = new AsyncDisposableStack();
    await using watcher = await testSession({ url: first.url });
    let { storage } = first;
    let before = 0;
    for (let nth = 0; nth < 4; nth++) {
      const load = new Load(storage);
      await load.more(50);
      const next = stack.use(await openAgain(first.schema));
      await load.ended;
      const stored = await storedEvents(watcher, first.schema);
      const { acknowledged, unknown } = load.counts;
      assert.ok(before + acknowledged <= stored);
      assert.ok(stored <= before + acknowledged + unknown);
      before = stored;
      storage = next;
    }
    assert.equal(storage.signal.aborted, false);
  });
});

describe("The start-up delay", () => {
  it("follows a wait for the lock, and can be aborted", async () => {
    await using ours = await openTestStorage();
    const { schema } = ours;
    await using watcher = await testSession({ url: ours.url });
    const controller = new AbortController();
    const { node, opening } = await startBehindNode(
      schema,
      watcher,
      controller.signal,
    );
    let isOpen = false;
    void opening.then(() => isOpen = true, () => {});
    await passOn(node, schema, watcher);
    assert.equal(isOpen, false);
    controller.abort();
    await assert.rejects(
      opening,
      (error) => isStreamStorageError(error, "CANCELED"),
    );
    assert.deepEqual(await lockHolders(watcher, schema), []);
  });

  it("is left out if the lock was free", async () => {
    await using ours = await openTestStorage();
    await ours.storage.close();
    await using next = await openAgain(ours.schema, {
      startupDelayMs: neverMs,
    });
    await next.createStreamStorage(newStreamId(), genesis);
  });

  it("ends if another starter takes the schema", async () => {
    await using ours = await openTestStorage();
    await using watcher = await testSession({ url: ours.url });
    const { node, opening } = await startBehindNode(ours.schema, watcher);
    await passOn(node, ours.schema, watcher);
    await using next = await ExistingNode.start(ours.schema);
    await next.takeRow();
    await assert.rejects(opening, isLost);
    await next.lock();
  });
});

describe("A former owner", () => {
  it("can't write for a successor of the same name", async () => {
    const instanceId = "node 7";
    await using ours = await openTestStorage({ instanceId });
    const { storage, schema } = ours;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using watcher = await testSession({ url: ours.url });
    // Without the trigger, it misses the takeover as if it was frozen.
    await watcher.script(
      `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER`,
    );
    const rowTime = async () => {
      const [row] = await watcher.script(
        `SELECT storage_connection_time FROM ${schema}.singlenodekey`,
      );
      return row?.[0];
    };
    const before = await rowTime();
    const opened = openAgain(schema, { instanceId });
    await untilSeen(async () => await rowTime() !== before);
    await assert.rejects(storage.writeEvent(id, 1n, 0, event), isLost);
    await using owner = await opened;
    await owner.createStreamStorage(newStreamId(), genesis);
  });

  it("whose client died in the middle of a write does not stop a takeover", async () => {
    await using ours = await openTestStorage();
    const { storage, schema, url } = ours;
    await using stuck = await testSession({ url });
    // This is how a write begins; the rest never comes.
    await stuck.script(
      `BEGIN; SELECT uuid FROM ${schema}.singlenodekey FOR SHARE`,
    );
    const events: string[] = [];
    await using next = await openAgain(schema, {
      operationTimeoutMs: 250,
      logger: ({ code }) => events.push(code),
    });
    await stuck.closed;
    assert.ok(events.includes("ownership_write_ended"));
    await aborted(storage.signal);
    await next.createStreamStorage(newStreamId(), genesis);
  });
});

describe("An owner whose lock another session took", () => {
  it("works on, and takes the lock back when it is free", async () => {
    await using ours = await openTestStorage();
    const { storage, schema, url } = ours;
    await using thief = await testSession({ url });
    await using killer = await testSession({ url });
    const [old] = await lockHolders(thief, schema);
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const lockId = schemaLockId(schema);
    // The thief has asked first, so the owner does not get its lock back at
    // once.
    const stolen = thief.script(`SELECT pg_advisory_lock(${lockId})`);
    await blocked(thief.processId);
    await killer.script(`SELECT pg_terminate_backend(${old})`);
    await stolen;
    await storage.writeEvent(id, 1n, 0, event);
    await thief.script(`SELECT pg_advisory_unlock(${lockId})`);
    let now: string[];
    do now = await lockHolders(thief, schema); while (now.length === 0);
    assert.equal(storage.signal.aborted, false);
    await storage.writeEvent(id, 1n, 1, event);
  });
});

describe("A starter that died", () => {
  const cases = [
    { what: "lock of the table", text: "LOCK TABLE", end: "executed" },
    { what: "change of the rows", text: "DELETE FROM", end: "lost" },
  ] as const;
  for (const { what, text, end } of cases) {
    it(`leaves the owner in place if its ${what} comes late`, async () => {
      await using ours = await openTestStorage();
      const { storage, schema, url } = ours;
      await using proxy = await startLateProxy(url);
      const matches = matchesFlush(text, `"${schema}"."singlenodekey"`);
      const late = proxy.hold(matches, 1);
      const applicationName = `starter of ${schema}`;
      await assert.rejects(
        openAgain(schema, { url: proxy.url, applicationName }),
        (error) => isStreamStorageError(error, "UNAVAILABLE"),
      );
      assert.ok(late.isHeld);
      await using watcher = await testSession({ url });
      const gone = async (state: string) => {
        const query = `SELECT FROM pg_stat_activity
          WHERE application_name = '${applicationName}' AND ${state}`;
        await untilSeen(async () => (await watcher.script(query)).length === 0);
      };
      // The server has ended the transaction, so the change comes to nothing.
      if (end === "lost") await gone("true");
      assert.equal((await late.deliver()).end, end);
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      const [[uuid] = []] = await watcher.script(
        `SELECT uuid FROM ${schema}.singlenodekey`,
      );
      assert.equal(uuid, storage.instanceId);
      assert.equal(storage.signal.aborted, false);
      // The next starter waits only briefly for the table lock of the dead one.
      await using next = await openAgain(schema);
      await aborted(storage.signal);
      await next.writeEvent(id, 1n, 0, event);
      await gone("true");
    });
  }
});
