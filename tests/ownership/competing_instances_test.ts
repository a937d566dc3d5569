/**
 * Instances that want the same schema at once, and nodes that have not heard of
 * each other: no one of them waits for ever, and one works.
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
import { blocked, testSession } from "../support/sessions.ts";
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

/** As long as any test lasts, 15 times. */
const longMs = 60_000;

describe("An opener that finds the schema just taken", () => {
  it("waits until its owner has had some time", async () => {
    await using first = await begin().opening;
    // From an owner that has replaced nobody it is taken at once.
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
    // By the server's clock, however slow this machine is.
    assert.ok((await row()).ms - taken.ms >= 1500);
  });

  it("waits no longer than its owner lives", async () => {
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

  it("can be given up, and the owner has not noticed", async () => {
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

/** A node that has the lock, listens, and has never heard that its row is gone. */
async function startDeafNode(
  lock: (node: ExistingNode) => Promise<void>,
): Promise<{ hasGone: Promise<void> }> {
  const node = await ExistingNode.start(schema, { listens: false });
  await lock(node);
  await node.listen();
  // As a node does at any notification: it does not look at the table.
  return { hasGone: node.notified().then(() => node[Symbol.asyncDispose]()) };
}

describe("A node that listened too late", () => {
  it("is told by the starter that waits for its lock", async () => {
    await using former = await testSession();
    await former.script(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
    const { hasGone } = await startDeafNode(async (node) => {
      await node.takeRow();
      const locked = node.lock();
      await blocked(node.processId);
      // Ours replaces the row; then the lock goes to the one that is first in line.
      waiting = begin();
      while ((await row()).uuid === "node");
      await former.close();
      await locked;
    });
    await hasGone;
    await using storage = await waiting.opening;
    await works(storage);
  });

  it("is told by the owner whose lock it has got", async () => {
    const { opening, logged } = begin();
    await using owner = await opening;
    const [[pid] = []] = await watcher.script(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
       AND ((classid::bigint << 32) | objid::bigint) = ${schemaLockId(schema)}`,
    );
    const { hasGone } = await startDeafNode(async (node) => {
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

/** Ownership below the store; one that stands by. */
function ownership(
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
    // More than the pause between two looks.
    leaseMs: 2500,
    stuckWriteMs: 10_000,
    onEvent,
    ...(survey && { survey }),
  });
}

describe("An owner that is silent", () => {
  it("loses its lock, and the one that stands by follows", async () => {
    const url = await testDatabaseUrl();
    await using proxy = await startProxy(url);
    const events: LogCode[] = [];
    const onEvent = (code: LogCode) => void events.push(code);
    const frozen = await ownership(proxy.url, onEvent);
    const next = ownership(url, onEvent);
    await until(() => events.includes("ownership_standby"));
    // As behind a dead router: its connection stays open, for the server, too.
    proxy.silence(true);
    const owner = await next;
    assert.equal(frozen.signal.aborted, false);
    proxy.cutAll();
    proxy.silence(false);
    await aborted(frozen.signal);
    await owner.release(10_000);
  });
});

describe("One that stands by", () => {
  it("looks where to be before it takes the lock", async () => {
    await using holder = await testSession();
    await holder.script(`SELECT pg_advisory_lock(${schemaLockId(schema)})`);
    const events: string[] = [];
    const opening = ownership(
      await testDatabaseUrl(),
      (code) => void events.push(code),
      () => Promise.resolve(events.push("surveyed")),
    );
    await until(() => events.includes("ownership_standby"));
    assert.ok(!events.includes("surveyed"));
    await holder.close();
    await (await opening).release(10_000);
    // An old primary would have a free lock, too, once its owner has moved on.
    assert.deepEqual(events, [
      "ownership_standby",
      "surveyed",
      "ownership_taken",
    ]);
  });
});
