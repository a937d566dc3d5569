/**
 * No call waits for ever, on a real server: deadlines hold when the network or
 * the server is silent, signals end calls, and closing has a budget. The queue,
 * the pool and the transactions have tests of their own for their bounds.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Session } from "../../src/database/session.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../../src/storage/errors.ts";
import { operationNames } from "../../src/storage/operations.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { callSample } from "../../src/testing/samples.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";
import { untilSeen } from "../support/until.ts";

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);
const hash = new Uint8Array(32).fill(7);

const operationTimeoutMs = 1000;
/** Longer than any deadline here: a call that takes this long never ends. */
const foreverMs = 30_000;

/** The error with which the call fails in time. */
async function failure(call: Promise<unknown>): Promise<StreamStorageError> {
  try {
    await ended(call);
  } catch (error) {
    assert.ok(isStreamStorageError(error), String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "Expected the call to fail" });
}

/** The promise's result; rejects if the promise does not settle in time. */
async function ended<T>(promise: Promise<T>): Promise<T> {
  const { promise: never, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error("Expected the promise to settle")),
    foreverMs,
  );
  return await Promise.race([promise, never]).finally(() =>
    clearTimeout(timer)
  );
}

/** Retries until the store works: attempts to connect get lost, too. */
async function backAgain(storage: PostgresStreamStorage): Promise<void> {
  const latest = performance.now() + foreverMs;
  for (;;) {
    try {
      await storage.getStreamsNumber();
      await storage.createStreamStorage(newStreamId(), genesis);
      return;
    } catch (error) {
      assert.ok(isStreamStorageError(error) && error.retryable);
      assert.ok(performance.now() < latest, "Expected the store to work");
    }
  }
}

describe("A network that falls silent", () => {
  it("holds up no call beyond its deadline, and the store reconnects", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs,
    });
    const { storage } = test;
    const ids = Array.from({ length: 6 }, () => newStreamId());
    await Promise.all(
      ids.map((id) => storage.createStreamStorage(id, genesis)),
    );
    await Promise.all(ids.map((id) => storage.getLastMiniblockNumber(id)));
    proxy.silence(true);
    const failures = await Promise.all([
      ...ids.map((id) => failure(storage.writeEvent(id, 1n, 0, event))),
      ...ids.map((id) => failure(storage.writeEvent(id, 1n, 1, event))),
      ...ids.map((id) => failure(storage.getLastMiniblockNumber(id))),
      failure(storage.deleteStream(ids[0]!)),
      failure(storage.getStreams()),
    ]);
    for (const error of failures) {
      assert.match(error.code, /^(UNAVAILABLE|DEADLINE_EXCEEDED)$/);
      assert.ok(error.retryable);
    }
    // Some writes were sent, so their outcome is unknown. Others were not.
    const outcomes = new Set(failures.map(({ outcome }) => outcome));
    assert.deepEqual(outcomes, new Set(["unknown", "rolled_back"]));
    proxy.silence(false);
    await backAgain(storage);
    for (const id of ids) {
      assert.equal(await storage.getLastMiniblockNumber(id), 0n);
    }
    await storage.createStreamStorage(newStreamId(), genesis);
    assert.equal(storage.signal.aborted, false);
  });

  it("does not hold up later calls, either", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs,
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    proxy.silence(true);
    const until = performance.now() + 1500;
    const later: Promise<StreamStorageError>[] = [];
    while (performance.now() < until) {
      later.push(failure(storage.writeEvent(newStreamId(), 1n, 0, event)));
      const read = failure(storage.getLastMiniblockNumber(id));
      later.push(read);
      await read;
    }
    await Promise.all(later);
    proxy.silence(false);
    await backAgain(storage);
    assert.equal(await storage.getLastMiniblockNumber(id), 0n);
  });

  it("does not hold up closing beyond its budget", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs,
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    proxy.silence(true);
    const writes = [0, 1, 2].map((slot) =>
      failure(storage.writeEvent(id, 1n, slot, event))
    );
    await ended(storage.close());
    await Promise.all(writes);
    proxy.silence(false);
  });

  it("does not hold up an opening whose signal is aborted", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    proxy.silence(true);
    const controller = new AbortController();
    const opening = failure(openStreamStorage({
      url: proxy.url,
      schema: "never",
      signal: controller.signal,
    }));
    while (proxy.counts.attempts === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const reason = new Error("enough");
    controller.abort(reason);
    const error = await opening;
    assert.equal(error.code, "CANCELED");
    assert.equal(error.cause, reason);
  });
});

describe("A statement that takes too long", () => {
  it("is cancelled by the server, whatever it waits for", async () => {
    await using test = await openTestStorage({ operationTimeoutMs });
    const { storage, schema, url } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const { miniblocks } = new Catalog(schema, storage.partitions)
      .tablesOf(id);
    await using holder = await testSession({ url });
    await holder.script(`BEGIN; LOCK TABLE ${miniblocks}`);
    // A write by COPY, one by INSERT, and a read.
    const calls = [
      ...[9, 1].map((blocks) =>
        storage.writeMiniblocks(
          id,
          Array.from({ length: blocks }, (_, i) => ({
            number: BigInt(i + 1),
            data: new Uint8Array(100_000).fill(1),
          })),
          { generation: BigInt(blocks + 1), envelopes: [] },
          { generation: 1n },
        )
      ),
      storage.getLastMiniblockNumber(id),
    ];
    for (const error of await Promise.all(calls.map(failure))) {
      assert.equal(error.code, "DEADLINE_EXCEEDED", String(error));
      assert.equal(error.outcome, "rolled_back");
      assert.ok(error.retryable);
    }
    await holder.script("COMMIT");
    assert.equal(await storage.getLastMiniblockNumber(id), 0n);
  });

  it("is refused with its reason if too many already wait", async () => {
    await using test = await openTestStorage({ operationTimeoutMs: 60_000 });
    const { storage, schema, url } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using holder = await testSession({ url });
    await holder.script(`BEGIN; LOCK TABLE ${schema}.es`);
    const controller = new AbortController();
    const { signal } = controller;
    const isFull = (reason: string) => (error: unknown) =>
      isStreamStorageError(error, "RESOURCE_EXHAUSTED") && error.retryable &&
      error.outcome === "rolled_back" && error.details.reason === reason;
    // One write is in flight. As many bytes wait behind it as may: 256 MB.
    const large = new Uint8Array(16 * 1024 * 1024).fill(1);
    const first = storage.writeEvent(id, 1n, 0, large, { signal });
    await waiting(holder, 1);
    const others = Promise.all(Array.from(
      { length: 16 },
      (_, i) => failure(storage.writeEvent(id, 1n, i + 1, large, { signal })),
    ));
    await assert.rejects(
      storage.writeEvent(id, 1n, 17, event),
      isFull("write_queue_full"),
    );
    const reads = Promise.allSettled(Array.from(
      { length: 10_100 },
      () => storage.getLastMiniblockNumber(id),
    ));
    await assert.rejects(
      storage.getLastMiniblockNumber(id),
      isFull("pool_queue_full"),
    );
    controller.abort();
    await holder.script("COMMIT");
    await ended(first);
    for (const { code } of await others) assert.equal(code, "CANCELED");
    const read = await ended(reads);
    assert.ok(
      read.filter(({ status }) => status === "fulfilled").length > 9000,
    );
    await storage.createStreamStorage(newStreamId(), genesis);
  });
});

/** Reasons of every kind: an error, a text, null, and the default reason. */
const reasons = [
  new Error("the caller's own"),
  "enough",
  null,
  AbortSignal.abort().reason,
];

async function assertCanceled(
  call: Promise<unknown>,
  name: string,
  reason: unknown,
): Promise<void> {
  const error = await failure(call);
  assert.equal(error.code, "CANCELED", `${name}: ${error}`);
  assert.equal(error.cause, reason);
  assert.equal(error.operation, name);
  assert.equal(error.outcome, "rolled_back");
}

describe("A signal", () => {
  it("ends every read that is in flight", async () => {
    await using test = await openTestStorage({
      maxConnections: 20,
      // The first reads wait long until the last one has begun.
      lockTimeoutMs: 15_000,
      operationTimeoutMs: foreverMs,
      retry: { attempts: 100 },
    });
    const { storage, schema, url } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using holder = await testSession({ url });
    await holder.script(
      `BEGIN; LOCK TABLE ${schema}.es, ` +
        ["r00", "r01", "m00", "m01"].flatMap((suffix) => [
          `${schema}.miniblocks_${suffix}`,
          `${schema}.minipools_${suffix}`,
        ]).join(),
    );
    for (const reason of reasons) {
      const controller = new AbortController();
      const calls = operationNames("reads", "lists").map((name) =>
        assertCanceled(
          callSample(storage, name, id, { signal: controller.signal }),
          name,
          reason,
        )
      );
      // By now they wait on the server.
      await waiting(holder, 4);
      controller.abort(reason);
      await Promise.all(calls);
    }
    await holder.script("COMMIT");
    assert.equal(await storage.getLastMiniblockNumber(id), 0n);
  });

  it("ends every write that waits behind another of its stream", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    for (const name of operationNames("writes", "creates")) {
      if (name.startsWith("create")) continue;
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      await using holder = await testSession({ url });
      await holder.script(
        `BEGIN; SELECT 1 FROM ${schema}.es WHERE stream_id = '${id}' FOR UPDATE`,
      );
      const first = storage.writeMiniblockCandidate(id, {
        number: 7n,
        data: event,
        hash,
      });
      const controller = new AbortController();
      const reason = new Error("enough");
      const second = assertCanceled(
        callSample(storage, name, id, { signal: controller.signal }),
        name,
        reason,
      );
      controller.abort(reason);
      await second;
      await holder.script("COMMIT");
      await first;
      const data = await storage.debugReadStreamData(id);
      assert.equal(data.miniblocks.length, 1);
      assert.equal(data.miniblockCandidates.length, 1);
      assert.equal(data.events.length, 1);
    }
  });

  it("ends a write that waits for its stream's lock", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await using holder = await testSession({ url });
    await holder.script(
      `BEGIN; SELECT 1 FROM ${schema}.es WHERE stream_id = '${id}' FOR UPDATE`,
    );
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("enough");
    const write = assertCanceled(
      storage.writeEvent(id, 1n, 0, event, { signal }),
      "writeEvent",
      reason,
    );
    storage.enableTxTracker();
    while (storage.dumpTxTracker().length === 0) await storage.getStreams();
    controller.abort(reason);
    await write;
    await holder.script("COMMIT");
    const { minipoolEvents } = await storage.debugReadStreamStatistics(id);
    assert.equal(minipoolEvents, 0);
  });

  it("never ends a write that is in flight", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const { minipools } = new Catalog(schema, storage.partitions).tablesOf(id);
    await using holder = await testSession({ url });
    // An uncommitted insert of the same row, which the write must wait for.
    await holder.script(
      `BEGIN; INSERT INTO ${minipools} (stream_id, generation, slot_num)
         VALUES ('${id}', 1, 0)`,
    );
    const controller = new AbortController();
    const { signal } = controller;
    const write = storage.writeEvent(id, 1n, 0, event, { signal });
    await waiting(holder, 1);
    controller.abort();
    await holder.script("ROLLBACK");
    await write;
    const { minipoolEvents } = await storage.debugReadStreamStatistics(id);
    assert.equal(minipoolEvents, 1);
  });
});

/** Waits until so many sessions wait for locks of the holder. */
async function waiting(holder: Session, sessions: number): Promise<void> {
  await using watcher = await testSession();
  await untilSeen(async () => {
    const [row] = await watcher.script(
      `SELECT count(*) FROM pg_stat_activity
       WHERE ${holder.processId} = ANY(pg_blocking_pids(pid))`,
    );
    return Number(row?.[0]) >= sessions;
  });
}

describe("Closing a store", () => {
  it("completes accepted writes, and rejects the rest after its budget", async () => {
    await using test = await openTestStorage({
      // The writes that are not blocked need less, even on a busy machine.
      operationTimeoutMs: 2000,
    });
    const { storage, schema, url } = test;
    const [free, held] = [newStreamId(), newStreamId()];
    for (const id of [free, held]) {
      await storage.createStreamStorage(id, genesis);
    }
    await using holder = await testSession({ url });
    await holder.script(
      `BEGIN; SELECT 1 FROM ${schema}.es WHERE stream_id = '${held}' FOR UPDATE`,
    );
    const stuck = [0, 1, 2].map((slot) =>
      failure(storage.writeEvent(held, 1n, slot, event))
    );
    const accepted = Array.from(
      { length: 50 },
      (_, slot) => storage.writeEvent(free, 1n, slot, event),
    );
    const closing = storage.close();
    const late = await failure(storage.getStreamsNumber());
    assert.equal(late.details.reason, "closed");
    await Promise.all(accepted);
    await ended(closing);
    for (const { outcome } of await Promise.all(stuck)) {
      assert.equal(outcome, "rolled_back");
    }
    await holder.script("COMMIT");
  });

  it("does not wait for a worker's statement until that times out", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      operationTimeoutMs: foreverMs,
      statementTimeoutMs: operationTimeoutMs,
      workerConcurrency: 1,
      ephemeralSweepIntervalMs: 1000,
    });
    const silent = Promise.withResolvers<void>();
    let sweeper: number | undefined;
    proxy.setRule(({ connection, bytes }) => {
      if (bytes.includes("stream_storage_ephemeral")) {
        sweeper ??= connection;
        silent.resolve();
      }
      return connection === sweeper ? "swallow" : "forward";
    });
    await ended(silent.promise);
    await ended(test.storage.close());
    proxy.setRule(undefined);
  });
});
