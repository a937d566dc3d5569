/**
 * `whenOwned` on a real server: openings that stand by until the schema is free
 * (`wait`), and openings that fail if it is owned (`fail`). An owner can
 * release the schema.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { migrateDown } from "../../src/database/migrations/mod.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";
import { ExistingNode } from "../support/existing_node.ts";
import { lockHolders, terminate, testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };

let ground: TestStreamStorage;
let schema: string;
let watcher: Session;

before(async () => {
  ground = await openTestStorage();
  ({ schema } = ground);
  watcher = await testSession();
  await ground.storage.close();
});

after(async () => {
  await watcher.close();
  await ground[Symbol.asyncDispose]();
});

const open = async (
  options: Partial<StreamStorageOptions> = {},
): Promise<PostgresStreamStorage> =>
  await openStreamStorage({
    url: await testDatabaseUrl(),
    schema,
    // An opening that stands by has no delay, so no test waits this long.
    startupDelayMs: 3_600_000,
    maxConnections: 3,
    workerConcurrency: 0,
    ...options,
  });

/** Begins an opening, and waits until it stands by. */
async function standBy(options: Partial<StreamStorageOptions> = {}): Promise<{
  opening: Promise<PostgresStreamStorage>;
  events: LogEvent[];
  controller: AbortController;
}> {
  const events: LogEvent[] = [];
  const controller = new AbortController();
  const opening = open({
    whenOwned: "wait",
    signal: controller.signal,
    logger: (event) => void events.push(event),
    ...options,
  });
  opening.catch(() => {}); // looked at later
  await until(() => events.some(({ code }) => code === "ownership_standby"));
  return { opening, events, controller };
}

/** The row and the lock: all that others can see of the schema's ownership. */
async function seen(): Promise<unknown> {
  const rows = await watcher.script(
    `SELECT uuid, storage_connection_time, info FROM ${schema}.singlenodekey`,
  );
  return { rows, holders: await lockHolders(watcher, schema) };
}

/** The value of a time in SQL, in milliseconds. */
async function serverMs(time: string): Promise<number> {
  const [[ms] = []] = await watcher.script(
    `SET TimeZone = 'UTC'; SELECT extract(epoch FROM ${time}) * 1000`,
  );
  return Number(ms);
}

/** Leaves a row without a lock, as an owner that has died. */
async function leaveRow(): Promise<void> {
  await watcher.script(
    `DELETE FROM ${schema}.singlenodekey;
     INSERT INTO ${schema}.singlenodekey VALUES ('dead', now(), 'hostname=d')`,
  );
}

async function works(storage: PostgresStreamStorage): Promise<void> {
  await storage.createStreamStorage(newStreamId(), genesis);
}

const isOwned = (error: unknown) =>
  isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
  error.details.reason === "schema_owned";

const isReleased = (error: unknown) =>
  isStreamStorageError(error, "FAILED_PRECONDITION") &&
  error.details.reason === "ownership_released";

describe("An opening that waits", () => {
  it("does not disturb the owner, and follows it when it closes", async () => {
    await using owner = await open();
    const before = await seen();
    await using listener = await ExistingNode.start(schema);
    let isNotified = false;
    void listener.notified().then(() => isNotified = true);
    const { opening, events } = await standBy();
    await works(owner);
    assert.deepEqual(await seen(), before);
    assert.equal(isNotified, false);
    assert.equal(owner.signal.aborted, false);
    const logged = events.find(({ code }) => code === "ownership_standby");
    const facts = logged!.details!["owner"] as { name: string; since: string };
    assert.equal(facts.name, owner.instanceId);
    assert.ok(!Number.isNaN(Date.parse(facts.since)));
    await owner.close();
    await using next = await opening;
    await works(next);
  });

  it("follows an owner that has died and left its row", async () => {
    await using dead = await testSession();
    await leaveRow();
    await dead.script(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
    const { opening } = await standBy();
    const freeAt = await serverMs("clock_timestamp()::timestamp");
    await dead.close();
    await using next = await opening;
    await works(next);
    // A living starter of this row would have tried the lock within this time.
    const takenAt = await serverMs(
      `(SELECT storage_connection_time FROM ${schema}.singlenodekey)`,
    );
    assert.ok(takenAt - freeAt >= 1100);
  });

  it("ends if its signal aborts, and leaves no trace", async () => {
    await using owner = await open();
    const before = await seen();
    const { opening, controller } = await standBy();
    const reason = new Error("enough");
    controller.abort(reason);
    await assert.rejects(
      opening,
      (error) =>
        isStreamStorageError(error, "CANCELED") && error.cause === reason,
    );
    assert.deepEqual(await seen(), before);
    await works(owner);
  });

  it("follows the owner if it is the first of two, and the other waits for it", async () => {
    const owner = await open();
    const both = await Promise.all([standBy(), standBy()]);
    await owner.close();
    const nth = await Promise.race(
      both.map(({ opening }, i) => opening.then(() => i)),
    );
    const [first, second] = [both[nth]!, both[1 - nth]!];
    await using winner = await first.opening;
    await works(winner);
    const name = (event: LogEvent) =>
      (event.details!["owner"] as { name: string } | null)?.name;
    // The second opening has seen the new owner, and stands by for it.
    await until(() =>
      second.events.some((event) =>
        event.code === "ownership_standby" && name(event) === winner.instanceId
      )
    );
    assert.equal(winner.signal.aborted, false);
    await winner.close();
    await using last = await second.opening;
    await works(last);
  });

  it("reconnects if its session is lost, and waits on", async () => {
    const owner = await open();
    const applicationName = `standby ${crypto.randomUUID()}`;
    const { opening, events } = await standBy({ applicationName });
    const [[pid] = []] = await watcher.script(
      `SELECT pid FROM pg_stat_activity
       WHERE application_name = '${applicationName}'`,
    );
    await terminate(Number(pid));
    await until(() =>
      events.some(({ code }) => code === "ownership_session_back")
    );
    await owner.close();
    await using next = await opening;
    await works(next);
  });
});

describe("A starter", () => {
  it("that has written its row comes before an instance that stands by", async () => {
    await using owner = await ExistingNode.start(schema);
    await owner.takeRow();
    await owner.lock();
    const { opening } = await standBy();
    await using starter = await ExistingNode.start(schema);
    await starter.takeRow("starter");
    const locked = starter.lock();
    await owner[Symbol.asyncDispose]();
    await locked;
    const [[uuid] = []] = await watcher.script(
      `SELECT uuid FROM ${schema}.singlenodekey`,
    );
    assert.equal(uuid, "starter");
    await starter[Symbol.asyncDispose]();
    await using next = await opening;
    await works(next);
  });

  it("that writes its row while that instance migrates comes first, too", async () => {
    await migrateDown(watcher, { schema, to: 8 });
    await using starter = await ExistingNode.start(schema);
    let locked: Promise<void> | undefined;
    const events: LogEvent[] = [];
    const opening = open({
      whenOwned: "wait",
      logger: (event) => void events.push(event),
      beforeMigration: async () => {
        await starter.takeRow("starter");
        locked = starter.lock();
      },
    });
    opening.catch(() => {}); // looked at later
    await until(() => events.some(({ code }) => code === "ownership_standby"));
    await locked;
    const [[uuid] = []] = await watcher.script(
      `SELECT uuid FROM ${schema}.singlenodekey`,
    );
    assert.equal(uuid, "starter");
    await starter[Symbol.asyncDispose]();
    await using next = await opening;
    await works(next);
  });
});

describe("An opening that fails if the schema is owned", () => {
  it("names the owner in its error, and changes nothing", async () => {
    await using owner = await open();
    const before = await seen();
    await assert.rejects(open({ whenOwned: "fail" }), (error) => {
      assert.ok(isOwned(error) && isStreamStorageError(error));
      const { name, since } = error.details["owner"] as {
        name: string;
        since: string;
      };
      assert.equal(name, owner.instanceId);
      assert.ok(error.message.includes(`"${name}" since ${since}`));
      return true;
    });
    assert.deepEqual(await seen(), before);
    await works(owner);
  });

  it("makes no schema whose lock another session holds", async () => {
    const missing = uniqueName("missing");
    await using holder = await testSession();
    await holder.script(`SELECT pg_advisory_lock(${schemaLockId(missing)})`);
    await assert.rejects(
      open({ schema: missing, whenOwned: "fail" }),
      (error) =>
        isOwned(error) && isStreamStorageError(error) &&
        error.details["owner"] === null,
    );
    assert.deepEqual(
      await watcher.script(
        `SELECT 1 FROM pg_namespace WHERE nspname = '${missing}'`,
      ),
      [],
    );
  });

  it("opens a schema whose lock is free, whatever row is there", async () => {
    await using storage = await open({ whenOwned: "fail" });
    await works(storage);
    await storage.close();
    await leaveRow();
    await using next = await open({ whenOwned: "fail" });
    await works(next);
  });
});

describe("An owner that releases the schema", () => {
  it("ends its writes, reads on, and lets the next owner follow at once", async () => {
    const events: string[] = [];
    await using former = await open({
      logger: ({ code }) => events.push(code),
    });
    const id = newStreamId();
    const inFlight = former.createStreamStorage(id, genesis);
    const { opening } = await standBy();
    const released = former.releaseOwnership();
    const late = former.writeEvent(id, 1n, 0, genesis.data);
    await assert.rejects(late, isReleased);
    await Promise.all([inFlight, released]);
    await using next = await opening;
    await next.writeEvent(id, 1n, 0, genesis.data);
    const view = await former.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(view.minipoolEnvelopes, [genesis.data]);
    await assert.rejects(former.deleteStream(id), isReleased);
    await assert.rejects(
      former.maintenance.trimStreams(),
      (error) => isStreamStorageError(error, "FAILED_PRECONDITION"),
    );
    // Ownership was not lost, so the signal does not stop the process.
    assert.equal(former.signal.aborted, false);
    assert.equal(events.at(-1), "ownership_released");
    await former.releaseOwnership();
    await former.close();
    await works(next);
  });
});
