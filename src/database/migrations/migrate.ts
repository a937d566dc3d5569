/**
 * Migrating a schema up.
 *
 * 1. Read where the schema stands. If everything is applied, nothing is
 *    locked, written or needs a right to change the schema.
 * 2. Take the migration lock and read again.
 * 3. Create the schema; run the caller's hook; prepare (bookkeeping tables and
 *    the number of partitions, which is fixed from here on); one transaction
 *    each.
 * 4. Run the plan (plan.ts says why a run may be interrupted anywhere).
 */

import { quoted } from "../../storage/foreign_text.ts";
import type { MigrationConnection } from "./connection.ts";
import { readUsable, reportOf } from "./check.ts";
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
  runTransaction,
} from "./transaction.ts";
import { nodeMigrations } from "./versions.ts";

/** What {@linkcode migrate} is asked to do. */
export interface MigrateOptions {
  /** The schema; created when it is missing. */
  schema: string;
  /** 1 to 256; a schema that has a number already keeps it. */
  partitions: number;
  /** Told after each transaction, and while another process migrates. */
  onProgress?: ProgressListener | undefined;
  /**
   * Run in its own transaction before the first migration, after the schema
   * is there; not run when nothing is to be done. It must not commit.
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

/**
 * Brings a schema to the current versions of both tracks. Safe when several
 * processes do it at once, and after a run that was interrupted anywhere.
 *
 * The connection must be one session of its own (no pooler in transaction
 * mode), used by nobody else while the run lasts.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`: the schema can't be migrated, see
 *   `details.reason`; `CANCELED`: the signal; else the driver's error.
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
  const partitions = await prepare(run, before);
  const range = { from: before.versions, to: currentVersions };
  const steps = planUp(schema, range, partitions);
  const appliedVersions = await runSteps(steps, "up to", {
    connection,
    progress,
    signal,
  });
  const after = { versions: currentVersions, partitions };
  return { ...reportOf(run.options, progress, after, before), appliedVersions };
}

/** Everything before the first version; returns the number of partitions. */
async function prepare(run: Run, before: SchemaState): Promise<number> {
  const { connection, options, progress } = run;
  const { schema, partitions, beforeMigration } = options;
  progress.activity = "Preparation";
  refuseUnknownPartitions(schema, before, partitions);
  await refuseLeftOvers(connection, schema, before);
  if (!before.exists) {
    // Only when it is missing: the statement asks for the right to create
    // schemas before it looks whether there is any need.
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
  // Not the option: the hook may have stored another number.
  const { partitions: stored } = await readUsable(connection, schema);
  return stored ?? partitions;
}

/**
 * Refuses rows in partition tables of a schema that has no version: what an
 * interrupted way down left, or a restore without schema_migrations. Taking
 * them for the rows of new streams would be wrong.
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
    `Schema ${quoted(schema)} has no version but rows in its ` +
      "partition tables: complete an interrupted `migrate down --to 0`, or " +
      "restore its schema_migrations row",
    { schema },
  );
}
