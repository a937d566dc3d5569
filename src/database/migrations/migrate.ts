/**
 * Migrates a schema up.
 *
 * 1. Read the state of the schema. If everything is applied, nothing is locked
 *    or written, and no right to change the schema is needed.
 * 2. Take the migration lock and read again.
 * 3. In a Citus cluster, find out what it asks for (cluster.ts).
 * 4. Create the schema; run the caller's hook; prepare the bookkeeping tables
 *    and the number of partitions, which never changes from then on; one
 *    transaction each.
 * 5. Run the plan (plan.ts says why a run may be interrupted anywhere).
 */

import { quoted } from "../../storage/foreign_text.ts";
import type { MigrationConnection } from "./connection.ts";
import { readUsable, reportOf } from "./check.ts";
import { planCluster, runnerFor } from "./cluster.ts";
import { withMigrationLock } from "./lock.ts";
import { currentVersions } from "./numbers.ts";
import { planLossChecks, planPreparation, planUp } from "./plan.ts";
import {
  assertPartitions,
  isCurrent,
  refusal,
  refuseUnknownPartitions,
} from "./refusals.ts";
import {
  type MigrationReport,
  type ProgressListener,
  RunProgress,
} from "./report.ts";
import { runSteps } from "./run.ts";
import { assertSchemaName, quoteIdentifier } from "./sql_text.ts";
import type { SchemaState } from "./state.ts";
import {
  findsRows,
  migrationFailure,
  runHook,
  type RunTransaction,
} from "./transaction.ts";
import { nodeMigrations } from "./versions.ts";

/** The options of {@linkcode migrate}. */
export interface MigrateOptions {
  /** The schema; created when it is missing. */
  schema: string;
  /** 1 to 256; a schema that already has a number keeps it. */
  partitions: number;
  /** Called after each transaction, and while another process migrates. */
  onProgress?: ProgressListener | undefined;
  /**
   * Runs in its own transaction after the schema exists and before the first
   * migration, if there is anything to do. It must not commit.
   */
  beforeMigration?:
    | ((connection: MigrationConnection) => Promise<void>)
    | undefined;
  /** Stops the run between two transactions, or while waiting. */
  signal?: AbortSignal | undefined;
}

/** One call of {@linkcode migrate}. */
interface Run {
  connection: MigrationConnection;
  options: MigrateOptions;
  progress: RunProgress;
}

/** A run that has found out how transactions are run. */
interface LockedRun extends Run {
  runTransaction: RunTransaction;
}

/**
 * Brings a schema to the current versions of both tracks. Several processes may
 * do so at once, and after a run that was interrupted anywhere.
 *
 * The connection must be one session of its own (no pooler in transaction
 * mode), used by nothing else during the run.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`: the schema can't be migrated, see
 *   `details.reason`; `CANCELED`: the signal; otherwise the driver's error.
 */
export async function migrate(
  connection: MigrationConnection,
  options: MigrateOptions,
): Promise<MigrationReport> {
  const { schema, signal } = options;
  const progress = new RunProgress(options.onProgress);
  const run = { connection, options, progress };
  try {
    assertSchemaName(schema);
    assertPartitions(options.partitions);
    signal?.throwIfAborted();
    const state = await readUsable(connection, schema);
    if (isCurrent(state)) return reportOf(run.options, progress, state);
    return await withMigrationLock(
      connection,
      schema,
      () => migrateLocked(run),
      { signal, onWaiting: () => progress.wait() },
    );
  } catch (error) {
    const { activity } = progress;
    throw migrationFailure(error, {
      operation: "migrate",
      schema,
      activity,
      signal,
    });
  }
}

async function migrateLocked(run: Run): Promise<MigrationReport> {
  const { connection, options: { schema, signal }, progress } = run;
  const before = await readUsable(connection, schema);
  if (isCurrent(before)) return reportOf(run.options, progress, before);
  progress.activity = "Look at the cluster";
  const cluster = await planCluster(connection, schema, before);
  const runTransaction = runnerFor(cluster);
  for (const statement of cluster?.first ?? []) {
    await runTransaction(connection, statement);
  }
  const partitions = await prepare({ ...run, runTransaction }, before);
  const range = { from: before.versions, to: currentVersions };
  const steps = planUp(schema, range, partitions, cluster?.last);
  const appliedVersions = await runSteps(steps, "up to", {
    connection,
    runTransaction,
    progress,
    signal,
  });
  const after = { versions: currentVersions, partitions };
  return { ...reportOf(run.options, progress, after, before), appliedVersions };
}

/** Does what precedes the first version; returns the number of partitions. */
async function prepare(run: LockedRun, before: SchemaState): Promise<number> {
  const { connection, options, progress, runTransaction } = run;
  const { schema, partitions, beforeMigration } = options;
  progress.activity = "Preparation";
  refuseUnknownPartitions(schema, before, partitions);
  await refuseLeftOvers(connection, schema, before);
  if (!before.exists) {
    // Only if it is missing: the statement needs the right to create schemas
    // even if the schema exists.
    const name = quoteIdentifier(schema);
    await runTransaction(connection, `CREATE SCHEMA ${name};`);
  }
  if (beforeMigration !== undefined) {
    progress.activity = "Hook beforeMigration";
    await runHook(connection, beforeMigration);
    progress.activity = "Preparation";
  }
  if (before.prepared && before.partitions !== undefined) {
    return before.partitions;
  }
  await runTransaction(connection, planPreparation(schema, partitions));
  // The hook may have stored another number than the option's.
  const { partitions: stored } = await readUsable(connection, schema);
  return stored ?? partitions;
}

/**
 * Refuses a schema without a version whose partition tables have rows, as an
 * interrupted way down leaves it, or a restore without schema_migrations. Those
 * rows must not be taken for rows of new streams.
 */
async function refuseLeftOvers(
  connection: MigrationConnection,
  schema: string,
  { versions, suffixes }: SchemaState,
): Promise<void> {
  if (versions.node !== 0 || suffixes.length === 0) return;
  const left = { suffixes, once: false };
  const checks = planLossChecks(schema, nodeMigrations[0]!, left);
  if (!await findsRows(connection, checks)) return;
  throw refusal(
    "schema_not_empty",
    `Schema ${quoted(schema)} has no version, but rows in its ` +
      "partition tables: complete an interrupted `migrate down --to 0`, or " +
      "restore its schema_migrations row",
    { schema },
  );
}
