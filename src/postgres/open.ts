/**
 * Opening a store: check the options, bring the schema up to date, become its
 * owner, wire the parts together (assemble_store.ts).
 */

import { connectSession } from "../database/driver.ts";
import { operationError, sqlStateOf } from "../database/failures.ts";
import {
  checkMigrations,
  reportIfCurrent,
} from "../database/migrations/check.ts";
import type { MigrationReport } from "../database/migrations/report.ts";
import {
  assertSchemaName,
  quoteIdentifier,
} from "../database/migrations/sql_text.ts";
import type { Ownership } from "../database/ownership.ts";
import { rejectionOf } from "../database/rejection.ts";
import type { Session } from "../database/session.ts";
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
import type { StreamStorageOptions } from "./options.ts";
import { type ResolvedOptions, resolveOptions } from "./resolved_options.ts";
import type { PostgresStreamStorage } from "./postgres_stream_storage.ts";
import { takeOwnership } from "./take_ownership.ts";

const operation = "openStreamStorage";

/**
 * Opens a store; see `openStreamStorage`, which adds the workers. While the
 * database is asked, this loads the code that only an open store needs.
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
    // A failure is reported where the result is awaited.
    loading.catch(() => {});
    const resolved = await askSources(given);
    await place.enter();
    const { partitions, ownership } = await own(resolved, place, telemetry);
    try {
      if (!place.home.isDistributed) {
        await checkSameDatabase(resolved, ownership);
      }
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
    throw operationError(operation, error, signal);
  }
}

/** Becomes the owner of a schema that is up to date. */
function own(
  options: ResolvedOptions,
  place: Place,
  telemetry: StoreTelemetry,
): Promise<{ partitions: number; ownership: Ownership }> {
  const { signal } = options;
  const withinMs = options.operationTimeoutMs * reachFactor;
  return place.survey.reach({ withinMs, signal }, async () => {
    let partitions = 0;
    const ownership = await takeOwnership(options, place, {
      prepare: async (session) => {
        const report = await prepareSchema(options, place, session);
        partitions = partitionsInForce(report, options, telemetry);
        signal?.throwIfAborted();
      },
      onEvent: (...event) => telemetry.ownership.record(...event),
    });
    return { partitions, ownership };
  });
}

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

type Report = Pick<MigrationReport, "partitions" | "warnings">;

/** Checks the schema on the session; migrates on another one if needed. */
async function prepareSchema(
  options: ResolvedOptions,
  place: Place,
  session: Session,
): Promise<Report> {
  const { schema, partitions, migrate, signal } = options;
  const report = await abortable(session, signal, () => {
    switch (migrate) {
      case "skip":
        return storedPartitions(session, schema);
      case "check":
        return checkMigrations(session, { schema });
      case "apply":
        return reportIfCurrent(session, { schema, partitions });
    }
  });
  return report ?? await migrateSchema(options, place);
}

async function migrateSchema(
  { schema, partitions, beforeMigration, signal }: ResolvedOptions,
  place: Place,
): Promise<Report> {
  const { migrate } = await loadModule(() =>
    import("../database/migrations/migrate.ts")
  );
  const { onCoordinator } = await loadModule(() =>
    import("./on_coordinator.ts")
  );
  const connect = { answerTimeoutMs: migrationAnswerMs, signal };
  await using session = await place.connectOwner(connect);
  const options = { schema, partitions, beforeMigration, signal };
  return await abortable(
    session,
    signal,
    () =>
      onCoordinator(
        { place, schema, session, connect },
        (at) => abortable(at, signal, () => migrate(at, options)),
      ),
  );
}

/** Runs `body`; the signal gives the session up. */
async function abortable<T>(
  session: Session,
  signal: AbortSignal | undefined,
  body: () => Promise<T>,
): Promise<T> {
  const onAbort = () => session.giveUp("Opening was aborted");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await body();
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Logs the report's warnings; returns the number of partitions in force. */
function partitionsInForce(
  { partitions, warnings }: Report,
  options: ResolvedOptions,
  telemetry: StoreTelemetry,
): number {
  for (const message of warnings) {
    telemetry.log.emit("migration_warning", undefined, message);
  }
  return partitions ?? options.partitions;
}

async function storedPartitions(
  session: Session,
  schema: string,
): Promise<Report> {
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
  return { partitions: Number(row[0]), warnings: [] };
}

/**
 * Checks that two addresses lead to the same database: the owner's row, written
 * at one, must be found at the other. Otherwise every write would find another
 * owner.
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
      // A pooler may stand between. It drops settings sent at the start, and
      // without them no statement may be parsed.
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

/** Whether the fence is closed, or its table is missing. */
function isNotTheOwner(error: unknown): boolean {
  return rejectionOf(error) !== undefined || sqlStateOf(error) === "42P01";
}
