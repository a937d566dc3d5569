/**
 * Instances that want the same schema at once, and nodes that missed a
 * notification, on a real server: none of them waits for ever, and one becomes
 * the owner.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Home } from "../../src/database/cluster/home.ts";
import { connectLastingSession } from "../../src/database/lasting_session.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { Ownership } from "../../src/database/ownership.ts";
import type { OwnershipOptions } from "../../src/database/ownership/options.ts";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import type { LogCode, LogEvent } from "../../src/telemetry/log_events.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { aborted } from "../support/aborted.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { ExistingNode } from "../support/existing_node.ts";
import { startProxy } from "../support/network/proxy.ts";
import { blocked, lockHolders, testSession } from "../support/sessions.ts";
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

interface Opening {
  opening: Promise<PostgresStreamStorage>;
  events: LogEvent[];
  logged(code: LogCode): Promise<void>;
}

function begin(options: Partial<StreamStorageOptions> = {}): Opening {
  const events: LogEvent[] = [];
  const opening = testDatabaseUrl().then((url) =>
    openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 3,
      workerConcurrency: 0,
      logger: (event) => void events.push(event),
      ...options,
    })
  );
  opening.catch(() => {}); // looked at later
  const logged = (code: LogCode) =>
    until(() => events.some((event) => event.code === code));
  return { opening, events, logged };
}

async function works(storage: PostgresStreamStorage): Promise<void> {
  await storage.createStreamStorage(newStreamId(), genesis);
}

async function row(): Promise<{ uuid: string; ms: number }> {
  const [[uuid, ms] = []] = await watcher.script(
    `SELECT uuid, extract(epoch FROM storage_connection_time) * 1000
     FROM ${schema}.singlenodekey`,
  );
  return { uuid: uuid!, ms: Number(ms) };
}

/** An opening waits 15 times this long: longer than any test. */
const longMs = 60_000;

describe("An opening that finds the schema just taken over", () => {
  it("leaves the new owner some time before it replaces it", async () => {
    await using first = await begin().opening;
    // The first owner has replaced no other, so the second does not wait.
    await using second = await begin({ startupDelayMs: 100 }).opening;
    await aborted(first.signal);
    const taken = await row();
    const { opening, events } = begin({ startupDelayMs: 100 });
    await using third = await opening;
    await aborted(second.signal);
    await works(third);
    const contended = events.filter(({ code }) =>
      code === "ownership_contended"
    );
    assert.equal(contended.length, 1);
    assert.ok(Number(contended[0]!.details!["waitMs"]) <= 1500);
    // These are times of the server's clock, so a slow machine does not matter.
    assert.ok((await row()).ms - taken.ms >= 1500);
  });

  it("takes the schema as soon as the new owner has closed", async () => {
    const first = await begin().opening;
    const second = await begin().opening;
    const waiting = begin({ startupDelayMs: longMs });
    await waiting.logged("ownership_contended");
    await works(second);
    await second.close();
    await using third = await waiting.opening;
    await works(third);
    await first.close();
  });

  it("can be aborted, and the owner works on", async () => {
    await using first = await begin().opening;
    await using second = await begin().opening;
    const controller = new AbortController();
    const { opening, logged } = begin({
      startupDelayMs: longMs,
      signal: controller.signal,
    });
    await logged("ownership_contended");
    controller.abort();
    await assert.rejects(
      opening,
      (error) => isStreamStorageError(error, "CANCELED"),
    );
    assert.equal((await row()).uuid, second.instanceId);
    assert.equal(second.signal.aborted, false);
    await works(second);
    assert.ok(first.signal.aborted);
  });
});

/**
 * Starts a node that takes the lock, and listens only afterwards, so that it
 * has missed the notification that its row is gone.
 */
async function startLateListener(
  lock: (node: ExistingNode) => Promise<void>,
): Promise<{ hasGone: Promise<void> }> {
  const node = await ExistingNode.start(schema, { listens: false });
  await lock(node);
  await node.listen();
  // Nodes end at any notification, without a look at the table.
  return { hasGone: node.notified().then(() => node[Symbol.asyncDispose]()) };
}

describe("A node that listened too late", () => {
  it("is notified by the starter that waits for its lock", async () => {
    await using former = await testSession();
    await former.script(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
    const { hasGone } = await startLateListener(async (node) => {
      await node.takeRow();
      const locked = node.lock();
      await blocked(node.processId);
      // Our starter replaces the row. Then the node gets the lock, because it
      // asked first.
      waiting = begin();
      while ((await row()).uuid === "node");
      await former.close();
      await locked;
    });
    await hasGone;
    await using storage = await waiting.opening;
    await works(storage);
  });

  it("is notified by the owner whose lock it took", async () => {
    const { opening, logged } = begin();
    await using owner = await opening;
    const [pid] = await lockHolders(watcher, schema);
    const { hasGone } = await startLateListener(async (node) => {
      const locked = node.lock();
      await blocked(node.processId);
      await watcher.script(`SELECT pg_terminate_backend(${pid})`);
      await locked;
    });
    await hasGone;
    await logged("ownership_session_back");
    await works(owner);
    assert.equal(owner.signal.aborted, false);
  });

  let waiting: Opening;
});

/** Takes the schema without a store, and stands by if it is owned. */
function takeOwnership(
  url: string,
  onEvent: OwnershipOptions["onEvent"],
  survey?: () => Promise<unknown>,
): Promise<Ownership> {
  const connect = () =>
    connectLastingSession(parseConnectionUrl(url), {
      preparedStatements: true,
      answerTimeoutMs: 10_000,
    });
  return Ownership.take({
    schema,
    home: new Home({ schema, connect }),
    instanceId: crypto.randomUUID(),
    whenOwned: "wait",
    prepare: () => Promise.resolve(),
    connect,
    startupDelayMs: 0,
    // Longer than the pause between two looks at the lock.
    leaseMs: 2500,
    stuckWriteMs: 10_000,
    onEvent,
    ...(survey && { survey }),
  });
}

describe("An owner whose connection is silent", () => {
  it("loses its lock to the instance that stands by", async () => {
    const url = await testDatabaseUrl();
    await using proxy = await startProxy(url);
    const events: LogCode[] = [];
    const onEvent = (code: LogCode) => void events.push(code);
    const frozen = await takeOwnership(proxy.url, onEvent);
    const next = takeOwnership(url, onEvent);
    await until(() => events.includes("ownership_standby"));
    // As behind a dead router, the connection stays open on both sides.
    proxy.silence(true);
    const owner = await next;
    assert.equal(frozen.signal.aborted, false);
    proxy.cutAll();
    proxy.silence(false);
    await aborted(frozen.signal);
    await owner.release(10_000);
  });
});

describe("An instance that stands by", () => {
  it("surveys the hosts before it takes the lock", async () => {
    await using holder = await testSession();
    await holder.script(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
    const events: string[] = [];
    const opening = takeOwnership(
      await testDatabaseUrl(),
      (code) => void events.push(code),
      () => Promise.resolve(events.push("surveyed")),
    );
    await until(() => events.includes("ownership_standby"));
    assert.ok(!events.includes("surveyed"));
    await holder.close();
    await (await opening).release(10_000);
    // After a failover, the lock of the old primary would be free, too.
    assert.deepEqual(events, [
      "ownership_standby",
      "surveyed",
      "ownership_taken",
    ]);
  });
});
