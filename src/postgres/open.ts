/**
 * Opening a store: check the options, bring the schema up to date, become its
 * owner, wire the parts together (assemble_store.ts).
 */

import { connectSession } from "../database/driver.ts";
import { sqlStateOf, toStorageError } from "../database/failures.ts";
import {
  assertSchemaName,
  checkMigrations,
  migrate,
  quoteIdentifier,
} from "../database/migrations/mod.ts";
import { Ownership } from "../database/ownership.ts";
import { rejectionOf } from "../database/rejection.ts";
import type { Session } from "../database/session.ts";
import { canceled } from "../storage/contract_errors.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { quoted } from "../storage/foreign_text.ts";
import { loadModule } from "../storage/load_module.ts";
import type { StoreTelemetry } from "../telemetry/store_telemetry.ts";
import type { CreateWorkers } from "./background.ts";
import {
  Place,
  sessionOptions,
  sessionSettings,
  telemetryOf,
} from "./connections.ts";
import { migrationAnswerMs, reachFactor } from "./limits.ts";
import { loadBucket } from "./load_bucket.ts";
import { askSources } from "./live_options.ts";
import {
  type ResolvedOptions,
  resolveOptions,
  type StreamStorageOptions,
} from "./options.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";

/**
 * Opens a store; see `openStreamStorage`, which brings the workers. What is needed
 * only by an open store is loaded while the database is asked.
 */
export async function openStore(
  options: StreamStorageOptions,
  loadWorkers: () => CreateWorkers | Promise<CreateWorkers>,
): Promise<PostgresStreamStorage> {
  const given = resolveOptions(options);
  const { signal } = given;
  const telemetry = await telemetryOf(given);
  const place = new Place(given);
  try {
    signal?.throwIfAborted();
    const loading = loadRest(given, loadWorkers);
    // Told when it is waited for.
    loading.catch(() => {});
    const resolved = await askSources(given);
    await place.enter();
    const withinMs = resolved.operationTimeoutMs * reachFactor;
    const { partitions, ownership } = await place.survey.reach(
      { withinMs, signal },
      async () => {
        let partitions = 0;
        const ownership = await takeOwnership(
          resolved,
          telemetry,
          place,
          async () => {
            partitions = await prepareSchema(resolved, telemetry, place);
            signal?.throwIfAborted();
          },
        );
        return { partitions, ownership };
      },
    );
    try {
      await checkSameDatabase(resolved, ownership);
      const { assembleStore, ...rest } = await loading;
      return assembleStore({
        options: resolved,
        place,
        partitions,
        ownership,
        telemetry,
        ...rest,
      });
    } catch (error) {
      await ownership.release(resolved.operationTimeoutMs);
      throw error;
    }
  } catch (error) {
    telemetry.close();
    place.leave();
    if (signal?.aborted) {
      throw canceled(signal.reason).withOperation(operation);
    }
    throw toStorageError(error).withOperation(operation);
  }
}

const operation = "openStreamStorage";

async function loadRest(
  options: ResolvedOptions,
  loadWorkers: () => CreateWorkers | Promise<CreateWorkers>,
) {
  const { assembleStore } = await loadModule(() =>
    import("./assemble_store.ts")
  );
  const createWorkers = await loadWorkers();
  const openBucket = await loadBucket(options);
  return { assembleStore, createWorkers, openBucket };
}

/** Migrates or checks; returns the number of partitions in force. */
async function prepareSchema(
  options: ResolvedOptions,
  telemetry: StoreTelemetry,
  place: Place,
): Promise<number> {
  const { schema, signal } = options;
  const session = await place.connectOwner({
    answerTimeoutMs: migrationAnswerMs,
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

/**
 * A frozen owner, or one whose network is gone, is replaced after this time. An
 * owner that only works hard, or is debugged, is not silent for so long as a rule.
 */
const leaseMs = 15_000;

function takeOwnership(
  options: ResolvedOptions,
  telemetry: StoreTelemetry,
  place: Place,
  prepare: () => Promise<void>,
): Promise<Ownership> {
  const { schema, instanceId, whenOwned, startupDelayMs, signal } = options;
  return Ownership.take({
    schema,
    instanceId,
    whenOwned,
    prepare,
    startupDelayMs,
    leaseMs,
    stuckWriteMs: options.operationTimeoutMs * 2,
    signal,
    connect: (signal) => place.connectOwner({ signal }),
    ...(place.survey.isNeeded && { survey: () => place.survey.ask() }),
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
