/**
 * Ownership of a schema on a real server: it passes between instances and
 * nodes, and outlives the loss of the lock session.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import { aborted } from "../support/aborted.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { ExistingNode } from "../support/existing_node.ts";
import { openSession } from "../support/migration_connection.ts";
import { lockHolders, terminate } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

const streamId = parseStreamId("20".padEnd(64, "0"));
const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);

const isLost = (error: unknown) =>
  isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
  error.details.reason === "ownership_lost";

async function openAgain(
  schema: string,
  options: { signal?: AbortSignal } = {},
): Promise<PostgresStreamStorage> {
  return await openStreamStorage({
    url: await testDatabaseUrl(),
    schema,
    startupDelayMs: 0,
    maxConnections: 4,
    ...options,
  });
}

async function rows(session: Session, schema: string): Promise<number> {
  const [row] = await session.script(
    `SELECT count(*) FROM ${schema}.singlenodekey`,
  );
  return Number(row?.[0]);
}

describe("Ownership of a schema", () => {
  it("passes to the instance that starts later", async () => {
    await using first = await openTestStorage();
    await first.storage.createStreamStorage(streamId, genesis);
    await using second = await openAgain(first.schema);
    await aborted(first.storage.signal);
    assert.ok(isLost(first.storage.signal.reason));
    await assert.rejects(
      first.storage.writeEvent(streamId, 1n, 0, event),
      isLost,
    );
    await assert.rejects(first.storage.getStreamsNumber(), isLost);
    await second.writeEvent(streamId, 1n, 0, event);
    await using session = await openSession(first.url);
    assert.equal(await rows(session, first.schema), 1);
  });

  it("belongs to exactly one of several starters", async () => {
    await using first = await openTestStorage();
    const starts = await Promise.allSettled(
      Array.from({ length: 4 }, () => openAgain(first.schema)),
    );
    const open = starts.filter((s) => s.status === "fulfilled")
      .map((s) => s.value);
    try {
      const alive = open.filter(({ signal }) => !signal.aborted);
      const works = await Promise.allSettled(
        alive.map((storage, i) =>
          storage.createStreamStorage(
            parseStreamId(`20${i}`.padEnd(64, "0")),
            genesis,
          )
        ),
      );
      const owners = works.filter((w) => w.status === "fulfilled");
      assert.equal(owners.length, 1);
      for (const start of starts) {
        if (start.status === "rejected") assert.ok(isLost(start.reason));
      }
      await using session = await openSession(first.url);
      assert.equal(await rows(session, first.schema), 1);
    } finally {
      await Promise.all(open.map((storage) => storage.close()));
    }
  });

  it("passes to a node, which then gets the lock", async () => {
    await using ours = await openTestStorage();
    await using node = await ExistingNode.start(ours.schema);
    assert.equal(await node.tryLock(), false);
    await node.takeRow();
    await aborted(ours.storage.signal);
    await node.lock();
  });

  it("passes from a node, which is notified", async () => {
    await using ours = await openTestStorage();
    await using node = await ExistingNode.start(ours.schema);
    await node.takeRow();
    await node.lock();
    {
      const opening = openAgain(ours.schema);
      await node.overtaken();
      await node[Symbol.asyncDispose]();
      await using next = await opening;
      await next.createStreamStorage(streamId, genesis);
    }
  });

  it("leaves no row if the wait for it is aborted", async () => {
    await using ours = await openTestStorage();
    await using node = await ExistingNode.start(ours.schema);
    await node.takeRow();
    await node.lock();
    const controller = new AbortController();
    const reason = new Error("enough");
    const opening = openAgain(ours.schema, { signal: controller.signal });
    await node.overtaken();
    controller.abort(reason);
    await assert.rejects(
      opening,
      (error) =>
        isStreamStorageError(error, "CANCELED") && error.cause === reason,
    );
    await using session = await openSession(ours.url);
    assert.equal(await rows(session, ours.schema), 0);
  });

  it("is checked by every write of an owner that missed a takeover", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await storage.createStreamStorage(streamId, genesis);
    await using session = await openSession(ours.url);
    // Without the trigger, the owner is as if it was frozen during the
    // takeover.
    await session.script(
      `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER;
       UPDATE ${schema}.singlenodekey SET uuid = 'other'`,
    );
    const writes = [
      storage.writeEvent(streamId, 1n, 0, event),
      storage.writeEvent(streamId, 1n, 1, event),
      storage.deleteStream(streamId),
      storage.createStreamStorage(
        parseStreamId("201".padEnd(64, "0")),
        genesis,
      ),
    ];
    for (const result of await Promise.allSettled(writes)) {
      assert.equal(result.status, "rejected");
      assert.ok(isLost((result as PromiseRejectedResult).reason));
    }
    assert.ok(storage.signal.aborted);
    const [row] = await session.script(`SELECT count(*) FROM ${schema}.es`);
    assert.equal(row?.[0], "1");
  });

  it("passes only after a write that is in flight", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await storage.createStreamStorage(streamId, genesis);
    await using holder = await openSession(ours.url);
    const { minipools } = new Catalog(schema, storage.partitions)
      .tablesOf(streamId);
    // The write waits until this transaction ends, which inserts the same row.
    await holder.script(
      `BEGIN; INSERT INTO ${minipools} (stream_id, generation, slot_num)
         VALUES ('${streamId}', 1, 0)`,
    );
    const write = storage.writeEvent(streamId, 1n, 0, event);
    await using watcher = await openSession(ours.url);
    await until(
      watcher,
      "the write waits",
      `wait_event_type = 'Lock'
      AND query LIKE '%INSERT INTO%"${schema}".%'`,
    );
    const takeover = openAgain(schema);
    await until(
      watcher,
      "the takeover waits",
      `wait_event_type = 'Lock'
      AND query LIKE '%DELETE FROM "${schema}"."singlenodekey"%'`,
    );
    await holder.script("ROLLBACK");
    await write;
    await using next = await takeover;
    const view = await next.readStreamFromLastSnapshot(streamId, 0)
      .catch(() => next.debugReadStreamData(streamId));
    assert.ok("miniblocks" in view);
    await next.writeEvent(streamId, 1n, 1, event);
  });

  it("survives the loss of its lock session", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await storage.createStreamStorage(streamId, genesis);
    await using session = await openSession(ours.url);
    const [old] = await lockHolders(session, schema);
    await terminate(Number(old));
    await untilLocked(session, schema);
    await storage.writeEvent(streamId, 1n, 0, event);
    assert.equal(storage.signal.aborted, false);
  });

  it("ends if the loss of its lock session hid a takeover", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await using session = await openSession(ours.url);
    const [holder] = await lockHolders(session, schema);
    await session.script(
      `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER;
       UPDATE ${schema}.singlenodekey SET uuid = 'other'`,
    );
    await terminate(Number(holder));
    await aborted(storage.signal);
  });

  it("ends with close, which leaves no row and no lock", async () => {
    const ours = await openTestStorage();
    await using stack = new AsyncDisposableStack();
    stack.use(ours);
    await ours.storage.close();
    await using session = await openSession(ours.url);
    assert.equal(await rows(session, ours.schema), 0);
    await using node = await ExistingNode.start(ours.schema);
    assert.equal(await node.tryLock(), true);
  });
});

const activity = (condition: string) =>
  statement({
    text: `SELECT count(*) FROM pg_stat_activity WHERE ${condition}`,
    columns: ["int8"],
    once: true,
  });

/** Waits until the condition holds for a session of the server. */
async function until(
  session: Session,
  what: string,
  condition: string,
): Promise<void> {
  const deadline = performance.now() + 10_000;
  await untilSeen(async () => {
    const [{ rows: [row] }] = await session.run([bind(activity(condition))]);
    assert.ok(performance.now() < deadline, `Expected that ${what}`);
    return row![0] > 0n;
  });
}

async function untilLocked(session: Session, schema: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  await untilSeen(async () => {
    const message = "Expected that a session holds the schema's lock";
    assert.ok(performance.now() < deadline, message);
    return (await lockHolders(session, schema)).length > 0;
  });
}
