/**
 * Wires a store together: first what reads (read_core.ts), then what writes,
 * then what runs in the background. Each part knows only parts made before it.
 */

import { sqlStateOf, verdictOf } from "../database/failures.ts";
import type { Ownership } from "../database/ownership.ts";
import type { Pool } from "../database/pool.ts";
import { Transactions } from "../database/transactions.ts";
import { atMost } from "../storage/at_most.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { CreateWorkers, Workers } from "./background.ts";
import { CallRunner } from "./call_runner.ts";
import {
  patientOptions,
  type Place,
  poolOf,
  sessionOptions,
  sharesOf,
} from "./connections.ts";
import { StreamStorageFacade } from "./facade.ts";
import { maxPoolWaiting, queueBounds } from "./limits.ts";
import type { OpenBucket } from "./open_bucket.ts";
import type { ResolvedOptions } from "./resolved_options.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import { Quotas } from "./quotas.ts";
import { makeReadCore, type ReadCore } from "./read_core.ts";
import type { ReadStore, Store, WriteStore } from "./store.ts";
import { StreamCache } from "./stream_cache.ts";
import { WorkNotices } from "./work_notices.ts";
import type { BatchedWrite } from "./write_path/queued_write.ts";
import { runBatch } from "./write_path/write_batch.ts";
import { WriteQueue } from "./write_path/write_queue.ts";

/** What a store is made from. */
export interface StoreParts {
  options: ResolvedOptions;
  place: Place;
  partitions: number;
  ownership: Ownership;
  telemetry: StoreTelemetry;
  createWorkers: CreateWorkers;
  /** Present with the option `mediaStorage`; see load_bucket.ts. */
  openBucket: OpenBucket | undefined;
}

/** Makes a store, which starts to work at once; see the file's head. */
export function assembleStore(parts: StoreParts): PostgresStreamStorage {
  const { options, ownership, telemetry } = parts;
  const ground = groundOf(parts);
  const { core, writePool } = ground;
  const unqueued = storeWithoutQueue(ground);
  const writes = writeQueueOf(ground, unqueued);
  telemetry.watchQueue(writes, () => hasRoom(writes, [writePool, core.pool]));
  const store: Store = { ...unqueued, writes };
  const workerPool = workerPoolOf(parts);
  const workers = parts.createWorkers({
    options,
    telemetry,
    store: backgroundStoreOf(ground, store, workerPool),
    callers: store,
    signal: ownership.signal,
  });
  bindToOwnership(ground, store, workers);
  workers.start();
  return new StreamStorageFacade({
    schema: options.schema,
    instanceId: options.instanceId,
    signal: ownership.signal,
    store,
    reader: callersReadStoreOf(ground, store),
    calls: new CallRunner({
      operations: telemetry.operations,
      operationTimeoutMs: options.operationTimeoutMs,
      signal: ownership.signal,
    }),
    workers,
    ring: core.ring,
    telemetry,
    release: () => releaseStore(ground, store, workers),
    close: () => closeStore(ground, { store, workers, workerPool }),
  });
}

/** The workers' own pool; undefined if they share the callers' connections. */
function workerPoolOf(parts: StoreParts): Pool | undefined {
  const { background: max } = sharesOf(parts.options.maxConnections);
  if (max === 0) return undefined;
  const options = patientOptions(parts.options);
  return poolOf(options, parts, { name: "background", max, depth: 1 });
}

/** What the parts of a store have in common. */
interface Ground {
  options: ResolvedOptions;
  core: ReadCore;
  ownership: Ownership;
  writePool: Pool;
}

function groundOf(parts: StoreParts): Ground {
  const { options, place, partitions, ownership, telemetry } = parts;
  const { slots, readers } = sharesOf(options.maxConnections);
  const writePool = poolOf(options, parts, {
    name: "write",
    max: slots,
    depth: 1,
  });
  const core = makeReadCore(options, {
    place,
    telemetry,
    partitions,
    own: "current",
    connections: readers,
    openBucket: parts.openBucket,
    lockPool: writePool,
  });
  core.ring.enabled = options.debugTransactions;
  return { options, core, ownership, writePool };
}

/** The store without the queue, whose batches work with the rest. */
function storeWithoutQueue(ground: Ground): Omit<Store, "writes"> {
  const { options, core, ownership } = ground;
  const { telemetry, server } = core;
  const quotas = Quotas.of(
    options.quotas,
    (quota, details) => telemetry.log.emit("quota_near", { quota, ...details }),
  );
  const cache = new StreamCache(quotas);
  server.onMove((move) => {
    cache.forgetAll();
    // A server that has lost the last change of the epoch has an earlier epoch.
    ownership.fence.doubt(ownership.fence.epoch);
    telemetry.log.emit("commits_may_be_lost", { timeline: move });
  });
  core.place.home.listen({
    // Cached transaction numbers and places of rows belong to the server that
    // was left.
    onLost: () => cache.forgetAll(),
    onMoved: (change) => telemetry.log.emit("schema_moved", { ...change }),
  });
  return {
    catalog: core.catalog,
    transactions: transactionsOf(ground),
    cache,
    isolationLevel: options.isolationLevel,
    fence: ownership.fence,
    server,
    quotas,
    media: core.media,
    notices: new WorkNotices(),
  };
}

/**
 * The store's transactions. Reads of a write hardly wait for a locked table,
 * because the write keeps its transaction slot meanwhile. Callers' reads do
 * wait.
 */
function transactionsOf(
  { options, core, ownership, writePool }: Ground,
  { maxWaitMs = 0, pool }: { maxWaitMs?: number; pool?: Pool } = {},
): Transactions {
  const { operationTimeoutMs } = pool ? patientOptions(options) : options;
  return new Transactions({
    readPool: pool ?? core.pool,
    writePool: pool ?? writePool,
    fence: ownership.fence,
    fencePool: writePool,
    retry: options.retry,
    operationTimeoutMs,
    ring: core.ring,
    readGate: core.locks.readGate(maxWaitMs),
    metrics: core.telemetry.transactions,
  });
}

function writeQueueOf(ground: Ground, store: WriteStore): WriteQueue {
  const { options, core: { ring, telemetry, locks } } = ground;
  const { slots, background } = sharesOf(options.maxConnections);
  const batched = telemetry.batchSizes();
  // Built only while the ring is recording, and for eight streams at most,
  // because the ring keeps the text.
  const tagsOf = (writes: readonly BatchedWrite[]) =>
    ring.enabled
      ? writes.slice(0, 8).map(({ streamId }) => streamId).join(" ")
      : "";
  return new WriteQueue({
    ...queueBounds,
    slots,
    groupOf: (streamId) =>
      store.catalog.tablesOf(streamId).suffix.charCodeAt(2),
    backgroundSlots: Math.max(background, 1),
    maxWaitMs: options.operationTimeoutMs,
    runBatch: (writes, deadline) => {
      batched(writes.length);
      const name = "sharedWrites";
      const context = { name, tags: tagsOf(writes), deadline };
      return runBatch(store, context, writes);
    },
    maxLockWaitMs: options.lockWaitMs,
    locks,
    isUnknown: (error) =>
      verdictOf(error, "write") === "unknown" ||
      (isStreamStorageError(error) && error.outcome === "unknown"),
    isLocked: (error) => sqlStateOf(error) === "55P03",
  });
}

/** For callers' reads, which wait for a locked table until their deadline. */
function callersReadStoreOf(ground: Ground, store: Store): ReadStore {
  const { options, ownership } = ground;
  return {
    ...store,
    transactions: transactionsOf(ground, { maxWaitMs: options.lockWaitMs }),
    // Once other instances may change the streams, nothing is believed of them.
    get cache() {
      return ownership.isReleased ? undefined : store.cache;
    },
  };
}

/** The store for background work, with connections of its own if possible. */
function backgroundStoreOf(
  ground: Ground,
  store: Store,
  workerPool: Pool | undefined,
): Store {
  const pool = workerPool ?? ground.core.pool;
  const transactions = transactionsOf(ground, { pool });
  return { ...store, background: true, transactions };
}

function bindToOwnership(
  { options, ownership }: Ground,
  { cache, writes }: Store,
  workers: Workers,
): void {
  ownership.onReconnection(() => cache.forgetAll());
  ownership.beforeRelease(() => writes.close(closeBudgetMs(options)));
  ownership.signal.addEventListener("abort", () => void workers.stop());
}

/** Milliseconds that closing waits for writes in flight. */
function closeBudgetMs({ operationTimeoutMs }: ResolvedOptions): number {
  return 2 * operationTimeoutMs;
}

/** Closes the store. Workers get less of the time: they can stop anywhere. */
async function closeStore(
  { options, core, writePool, ownership }: Ground,
  { store, workers, workerPool }: {
    store: Store;
    workers: Workers;
    workerPool: Pool | undefined;
  },
): Promise<void> {
  const workersBudgetMs = sessionOptions(options).answerTimeoutMs;
  const started = performance.now();
  const left = (budgetMs = closeBudgetMs(options)) =>
    Math.max(0, budgetMs - (performance.now() - started));
  core.telemetry.leaving();
  core.pulse.stop();
  try {
    const workersStopped = workers.stop();
    await store.writes.close(closeBudgetMs(options));
    await atMost(left(workersBudgetMs), workersStopped);
    core.locks.close();
    core.telemetry.closing();
    await Promise.all([
      workerPool?.close(left(workersBudgetMs)),
      writePool.close(left()),
      core.pool.close(left()),
    ]);
    await workersStopped;
    await ownership.release(Math.max(left(), 1000));
  } finally {
    core.telemetry.close();
    core.place.leave();
  }
}

/** Closes everything except what reads. */
async function releaseStore(
  { options, core: { telemetry }, ownership }: Ground,
  { writes }: Store,
  workers: Workers,
): Promise<void> {
  const workersStopped = workers.stop();
  await writes.close(closeBudgetMs(options));
  await atMost(sessionOptions(options).answerTimeoutMs, workersStopped);
  await ownership.release(options.operationTimeoutMs);
  telemetry.ownership.record(
    "ownership_released",
    "This instance has given up the schema, it only reads from now on",
  );
}

/** Whether the queues are less than half full, so that an overload is over. */
function hasRoom(writes: WriteQueue, pools: readonly Pool[]): boolean {
  const { waiting, waitingBytes } = writes.state;
  return waiting < queueBounds.maxWaiting / 2 &&
    waitingBytes < queueBounds.maxWaitingBytes / 2 &&
    pools.every(({ state }) => state.waiting < maxPoolWaiting / 2);
}
