/**
 * Opening a store: check the options, bring the schema up to date, become its
 * owner, wire the parts together.
 */

import { connectSession } from "../database/driver.ts";
import { sqlStateOf, toStorageError, verdictOf } from "../database/failures.ts";
import {
  assertSchemaName,
  checkMigrations,
  migrate,
  quoteIdentifier,
} from "../database/migrations/mod.ts";
import { Ownership } from "../database/ownership.ts";
import type { Pool } from "../database/pool.ts";
import { rejectionOf } from "../database/rejection.ts";
import type { Session } from "../database/session.ts";
import { bind } from "../database/statement.ts";
import { TransactionRing } from "../database/transaction_ring.ts";
import { Transactions } from "../database/transactions.ts";
import { canceled } from "../storage/contract_errors.ts";
import { isStreamStorageError, StreamStorageError } from "../storage/errors.ts";
import { quoted } from "../storage/foreign_text.ts";
import { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { CreateWorkers } from "./background.ts";
import { Catalog } from "./catalog.ts";
import { LockedPartitions } from "./locked_partitions.ts";
import {
  maxPoolWaiting,
  patientOptions,
  Place,
  poolOf,
  readDepth,
  sessionOptions,
  sessionSettings,
  sharesOf,
} from "./connections.ts";
import { Media } from "./media.ts";
import { openBucket } from "./media_options.ts";
import {
  type ResolvedOptions,
  resolveOptions,
  type StreamStorageOptions,
} from "./options.ts";
import { StreamStorageFacade } from "./facade.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import { Quotas } from "./quotas.ts";
import type { Store } from "./store.ts";
import { selectLockedPartitions } from "./sql/table_locks.ts";
import { StreamCache } from "./stream_cache.ts";
import type { BatchedWrite } from "./write_path/queued_write.ts";
import { runBatch } from "./write_path/write_batch.ts";
import { WriteQueue } from "./write_path/write_queue.ts";

/** Opens a store; see `openStreamStorage`, which brings the workers. */
export async function openStore(
  options: StreamStorageOptions,
  createWorkers: CreateWorkers,
): Promise<PostgresStreamStorage> {
  const resolved = resolveOptions(options);
  const { signal } = resolved;
  const telemetry = telemetryOf(resolved);
  try {
    signal?.throwIfAborted();
    const place = new Place(resolved);
    const withinMs = resolved.operationTimeoutMs * reachFactor;
    const { partitions, ownership } = await place.survey.reach(
      { withinMs, signal },
      async () => {
        const partitions = await prepareSchema(resolved, telemetry, place);
        signal?.throwIfAborted();
        const ownership = await takeOwnership(resolved, telemetry, place);
        return { partitions, ownership };
      },
    );
    await checkSameDatabase(resolved, ownership);
    return assemble(resolved, {
      place,
      partitions,
      ownership,
      telemetry,
      createWorkers,
    });
  } catch (error) {
    telemetry.close();
    if (signal?.aborted) {
      throw canceled(signal.reason).withOperation(operation);
    }
    throw toStorageError(error).withOperation(operation);
  }
}

const operation = "openStreamStorage";

/** Operation timeouts for which a primary is waited for, with several hosts. */
const reachFactor = 4;

function telemetryOf(options: ResolvedOptions): StoreTelemetry {
  const { schema, logger } = options;
  const { database, hosts } = options.target;
  return new StoreTelemetry({
    database,
    schema,
    server: hosts.length === 1 ? hosts[0] : undefined,
    logger,
  });
}

/** Migrates or checks; returns the number of partitions in force. */
async function prepareSchema(
  options: ResolvedOptions,
  telemetry: StoreTelemetry,
  place: Place,
): Promise<number> {
  const { schema, signal } = options;
  // A migration may take longer than an operation.
  const session = await place.connectOwner({
    answerTimeoutMs: 600_000,
    signal,
  });
  const onAbort = () => session.giveUp("Opening was aborted");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (options.migrate === "skip") {
      return await storedPartitions(session, schema);
    }
    const report = options.migrate === "check"
      ? await checkMigrations(session, { schema })
      : await migrate(session, {
        schema,
        partitions: options.partitions,
        beforeMigration: options.beforeMigration,
        signal,
      });
    for (const message of report.warnings) {
      telemetry.log.tell("migration_warning", undefined, message);
    }
    return report.partitions ?? options.partitions;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    await session.close();
  }
}

async function storedPartitions(
  session: Session,
  schema: string,
): Promise<number> {
  assertSchemaName(schema);
  const [row] = await session.script(
    `SELECT num_partitions FROM ${quoteIdentifier(schema)}.settings`,
  );
  if (row === undefined) {
    throw new StreamStorageError({
      code: "BAD_CONFIG",
      message: `Schema ${quoted(schema)} has no settings, migrate it`,
      details: { reason: "schema_not_current", schema },
    });
  }
  return Number(row[0]);
}

function takeOwnership(
  options: ResolvedOptions,
  telemetry: StoreTelemetry,
  place: Place,
): Promise<Ownership> {
  const { schema, instanceId, startupDelayMs, signal } = options;
  return Ownership.take({
    schema,
    instanceId,
    startupDelayMs,
    stuckWriteMs: options.operationTimeoutMs * 2,
    signal,
    connect: (signal) => place.connectOwner({ signal }),
    ...(place.survey.isNeeded && { onBeat: () => void place.survey.ask() }),
    onEvent: (...event) => telemetry.ownership.heard(...event),
  });
}

/**
 * With two addresses, the row that was written at one must be there at the
 * other, or every write would find that somebody else is the owner.
 */
async function checkSameDatabase(
  options: ResolvedOptions,
  ownership: Ownership,
): Promise<void> {
  const { schema, target, ownershipTarget, signal } = options;
  if (target === ownershipTarget) return;
  try {
    await using session = await connectSession(target, {}, {
      ...sessionOptions(options),
      // There may be a pooler, which passes nothing on that is asked for at the
      // start, and there nothing may be parsed before it is set.
      preparedStatements: false,
      transactionSettings: sessionSettings(options),
      signal,
    });
    await session.run(ownership.fence.trial);
  } catch (error) {
    await ownership.release(options.operationTimeoutMs);
    if (!isNotTheOwner(error)) throw error;
    throw new StreamStorageError({
      code: "BAD_CONFIG",
      message: `Schema ${quoted(schema)} at url has another owner ` +
        "than at ownershipUrl: both must lead to the same database",
      details: { reason: "ownership_url_mismatch", schema },
      cause: error,
    });
  }
}

/** The fence is closed, or there is no such table. */
function isNotTheOwner(error: unknown): boolean {
  return rejectionOf(error) !== undefined || sqlStateOf(error) === "42P01";
}

interface Parts {
  place: Place;
  partitions: number;
  ownership: Ownership;
  telemetry: StoreTelemetry;
  createWorkers: CreateWorkers;
}

function assemble(
  options: ResolvedOptions,
  { place, partitions, ownership, telemetry, createWorkers }: Parts,
): PostgresStreamStorage {
  const ring = new TransactionRing();
  ring.enabled = options.debugTransactions;
  const quotas = Quotas.of(
    options.quotas,
    (quota, details) => telemetry.log.tell("quota_near", { quota, ...details }),
  );
  const cache = new StreamCache(quotas);
  const { server } = place;
  server.onMove((move) => {
    cache.forgetAll();
    // A server that lost the last change of the epoch has an earlier one.
    ownership.fence.doubt(ownership.fence.epoch);
    telemetry.log.tell("commits_may_be_lost", { timeline: move });
  });
  const { slots, readers, background } = sharesOf(options.maxConnections);
  const pool = (name: string, max: number, depth: number, of = options) =>
    poolOf(of, { telemetry, place }, { name, max, depth });
  const writePool = pool("write", slots, 1);
  const readPool = pool("read", readers, readDepth, {
    ...options,
    lockTimeoutMs: Math.min(options.lockTimeoutMs, readLockTimeoutMs),
  });
  const batched = telemetry.batchSizes();
  const catalog = new Catalog(options.schema, partitions);
  const locks = lockedPartitions(options, catalog, writePool);
  const transactions = (readPatienceMs: number) =>
    new Transactions({
      readPool,
      writePool,
      fence: ownership.fence,
      fencePool: writePool,
      retry: options.retry,
      operationTimeoutMs: options.operationTimeoutMs,
      ring,
      readGate: locks.readGate(readPatienceMs),
      metrics: telemetry.transactions,
    });
  // Built only while the ring is recording, and of eight streams at most, because
  // it keeps the text.
  const tagsOf = (writes: readonly BatchedWrite[]) =>
    ring.enabled
      ? writes.slice(0, 8).map(({ streamId }) => streamId).join(" ")
      : "";
  const store: Store = {
    catalog,
    transactions: transactions(0),
    cache,
    isolationLevel: options.isolationLevel,
    ownership,
    server,
    quotas,
    snapshotWritten: (streamId) => workers.snapshotWritten(streamId),
    restToRemove: () => workers.restToRemove(),
    media: mediaOf(options, telemetry),
    writes: new WriteQueue({
      ...queueBounds,
      slots,
      backgroundSlots: Math.max(background, 1),
      maxWaitMs: options.operationTimeoutMs,
      runBatch: (writes, deadline) => {
        batched(writes.length);
        const context = {
          name: "sharedWrites",
          tags: tagsOf(writes),
          deadline,
        };
        return runBatch(store, context, writes);
      },
      maxLockWaitMs: options.lockWaitMs,
      locks,
      isUnknown: (error) =>
        verdictOf(error, "write") === "unknown" ||
        (isStreamStorageError(error) && error.outcome === "unknown"),
      isLocked: (error) => sqlStateOf(error) === "55P03",
    }),
  };
  const patient = patientOptions(options);
  const workerPool = background > 0
    ? pool("background", background, 1, patient)
    : undefined;
  const workers = createWorkers({
    options,
    telemetry,
    store: {
      ...store,
      background: true,
      transactions: new Transactions({
        readPool: workerPool ?? readPool,
        writePool: workerPool ?? readPool,
        fence: ownership.fence,
        fencePool: writePool,
        retry: options.retry,
        operationTimeoutMs: patient.operationTimeoutMs,
        ring,
        readGate: locks.readGate(0),
        metrics: telemetry.transactions,
      }),
    },
  });
  const closeBudgetMs = options.operationTimeoutMs * 2;
  watch(telemetry, store.writes, [writePool, readPool]);
  ownership.onReconnection(() => cache.forgetAll());
  ownership.beforeRelease(() => store.writes.close(closeBudgetMs));
  ownership.signal.addEventListener("abort", () => void workers.stop());
  workers.start();
  return new StreamStorageFacade({
    schema: options.schema,
    instanceId: options.instanceId,
    store,
    reader: { ...store, transactions: transactions(options.lockWaitMs) },
    locks,
    workers,
    pools: [writePool, readPool],
    workerPool,
    ring,
    telemetry,
    operationTimeoutMs: options.operationTimeoutMs,
    closeBudgetMs,
    workersBudgetMs: sessionOptions(options).answerTimeoutMs,
  });
}

function lockedPartitions(
  { schema, operationTimeoutMs }: ResolvedOptions,
  catalog: Catalog,
  pool: Pool,
): LockedPartitions {
  const question = [bind(selectLockedPartitions, schema)] as const;
  return new LockedPartitions({
    suffixOf: (streamId) => catalog.tablesOf(streamId).suffix,
    find: async () => {
      const deadline = performance.now() + operationTimeoutMs;
      const [{ rows }] = await pool.run(question, "write", undefined, deadline);
      return rows;
    },
    maxWaiting: maxPoolWaiting,
  });
}

function mediaOf(
  { mediaStorage, schema, operationTimeoutMs }: ResolvedOptions,
  telemetry: StoreTelemetry,
): Media | undefined {
  return mediaStorage && new Media({
    objects: openBucket(mediaStorage, telemetry.objectStorage()),
    schema,
    migrateExisting: mediaStorage.migrateExisting,
    readTimeoutMs: operationTimeoutMs,
  });
}

/**
 * A read waits for nothing but a locked table, and up to three others wait behind
 * it on its connection.
 */
const readLockTimeoutMs = 100;

const queueBounds = {
  sharedSlots: 2,
  minDivided: 32,
  maxShared: 256,
  maxSharedBytes: 1024 * 1024,
  maxWaiting: 50_000,
  maxWaitingBytes: 256 * 1024 * 1024,
};

/** Tells telemetry of the queues, and when they are less than half full. */
function watch(
  telemetry: StoreTelemetry,
  writes: WriteQueue,
  pools: readonly Pool[],
): void {
  telemetry.watchQueue(writes, () => {
    const { waiting, waitingBytes } = writes.state;
    return waiting < queueBounds.maxWaiting / 2 &&
      waitingBytes < queueBounds.maxWaitingBytes / 2 &&
      pools.every(({ state }) => state.waiting < maxPoolWaiting / 2);
  });
}
