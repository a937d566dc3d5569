import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { parseStreamId, schemaLockId } from "../../src/storage/stream_id.ts";
import { aborted } from "../support/aborted.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { ExistingNode } from "../support/existing_node.ts";
import { openSession } from "../support/migration_connection.ts";
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
  it("goes to the instance that starts later", async () => {
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

  it("is had by exactly one of several starters", async () => {
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

  it("goes to an existing node, which finds the lock free", async () => {
    await using ours = await openTestStorage();
    await using node = await ExistingNode.start(ours.schema);
    assert.equal(await node.tryLock(), false);
    await node.takeRow();
    await aborted(ours.storage.signal);
    await node.lock();
  });

  it("comes from an existing node, which hears of it", async () => {
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

  it("can be given up waiting for", async () => {
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

  it("fences the writes of an owner that noticed nothing", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await storage.createStreamStorage(streamId, genesis);
    await using session = await openSession(ours.url);
    // Nobody is told: as for an owner that was frozen during the takeover.
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

  it("waits for a write that is under way", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await storage.createStreamStorage(streamId, genesis);
    await using holder = await openSession(ours.url);
    const { minipools } = new Catalog(schema, storage.partitions)
      .tablesOf(streamId);
    // The same row, of which nobody knows yet if it will be there.
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
    const holder = `SELECT pid FROM pg_locks WHERE locktype = 'advisory'
      AND ((classid::bigint << 32) | objid::bigint) = ${schemaLockId(schema)}`;
    await session.script(`SELECT pg_terminate_backend(pid) FROM (${holder}) h`);
    await untilRows(session, holder);
    await storage.writeEvent(streamId, 1n, 0, event);
    assert.equal(storage.signal.aborted, false);
  });

  it("stops when the lock session's loss hides a takeover", async () => {
    await using ours = await openTestStorage();
    const { storage, schema } = ours;
    await using session = await openSession(ours.url);
    await session.script(
      `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER;
       UPDATE ${schema}.singlenodekey SET uuid = 'other';
       SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND ((classid::bigint << 32)
           | objid::bigint) = ${schemaLockId(schema)}`,
    );
    await aborted(storage.signal);
  });

  it("ends with close: no row, no lock", async () => {
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

/** Waits until some backend is in the state. */
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

async function untilRows(session: Session, query: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  await untilSeen(async () => {
    assert.ok(performance.now() < deadline, "Expected the lock to be back");
    return (await session.script(query)).length > 0;
  });
}
