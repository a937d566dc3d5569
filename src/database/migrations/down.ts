/** Takes versions back. */

import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { assertCoordinator, readClusterState, runnerFor } from "./cluster.ts";
import type { MigrationConnection } from "./connection.ts";
import { withMigrationLock } from "./lock.ts";
import {
  migrationsDown,
  partitionSuffixes,
  planDown,
  planLossChecks,
  suffixesDown,
} from "./plan.ts";
import { refuseUnusable } from "./refusals.ts";
import {
  type MigrationReport,
  type ProgressListener,
  RunProgress,
} from "./report.ts";
import { runSteps } from "./run.ts";
import { assertSchemaName } from "./sql_text.ts";
import { readSchemaState } from "./state.ts";
import { findsRows, migrationFailure } from "./transaction.ts";
import { type Migration, nodeMigrations, ownMigrations } from "./versions.ts";

/** The options of {@linkcode migrateDown}. */
export interface MigrateDownOptions {
  schema: string;
  /**
   * The nodes' version to end at: 6, 7 or 8, or 0 to remove everything.
   * Default: it stays as it is.
   */
  to?: number | undefined;
  /**
   * The version of our own track to end at, for an older release. Default: it
   * stays as it is, unless everything is removed.
   */
  own?: number | undefined;
  /** Whether to drop rows or columns that hold data. Default false. */
  allowDataLoss?: boolean | undefined;
  onProgress?: ProgressListener | undefined;
  /** Stops the run between two transactions, or while waiting. */
  signal?: AbortSignal | undefined;
}

/**
 * Takes back the nodes' versions above `to`, and before them our own versions
 * above `own`, newest first. For a node, our own track may stay: none of its
 * versions disturbs one. The schema itself and the empty bookkeeping tables
 * stay.
 *
 * Nobody may write to the schema meanwhile: rows written after the check are
 * lost.
 *
 * @throws {StreamStorageError} `FAILED_PRECONDITION`, reason `data_loss`: a
 *   version holds data for which the version below has no place, and
 *   `allowDataLoss` is not set; nothing was changed. `INVALID_ARGUMENT`, reason
 *   `bad_version`. `BAD_CONFIG` as `migrate`; `CANCELED`: the signal.
 */
export async function migrateDown(
  connection: MigrationConnection,
  options: MigrateDownOptions,
): Promise<MigrationReport> {
  const { schema, signal } = options;
  const progress = new RunProgress(options.onProgress);
  try {
    assertSchemaName(schema);
    assertTargets(options);
    signal?.throwIfAborted();
    return await withMigrationLock(
      connection,
      schema,
      () => downLocked(connection, options, progress),
      { signal, onWaiting: () => progress.wait() },
    );
  } catch (error) {
    const { activity } = progress;
    throw migrationFailure(error, {
      operation: "migrateDown",
      schema,
      activity,
      signal,
    });
  }
}

async function downLocked(
  connection: MigrationConnection,
  { schema, to, own, allowDataLoss, signal }: MigrateDownOptions,
  progress: RunProgress,
): Promise<MigrationReport> {
  const state = await readSchemaState(connection, schema);
  refuseUnusable(schema, state);
  const cluster = state.hasCitus
    ? await readClusterState(connection, schema)
    : undefined;
  if (cluster) assertCoordinator(schema, cluster);
  const from = state.versions;
  const range = {
    from,
    to: {
      node: to ?? from.node,
      own: own ?? (to === 0 ? 0 : from.own),
    },
  };
  const suffixes = {
    used: partitionSuffixes(state.partitions ?? 0),
    present: state.suffixes,
  };
  if (!allowDataLoss) {
    for (const migration of migrationsDown(range, suffixes.present)) {
      await refuseLoss(connection, schema, migration, {
        suffixes: suffixesDown(migration, suffixes),
        once: migration.version <= from[migration.track],
      });
    }
  }
  const steps = planDown(schema, range, suffixes);
  const appliedVersions = await runSteps(steps, "down from", {
    connection,
    runTransaction: runnerFor(cluster),
    progress,
    signal,
  });
  const after = await readSchemaState(connection, schema);
  return { ...progress.report(schema, from, after), appliedVersions };
}

async function refuseLoss(
  connection: MigrationConnection,
  schema: string,
  migration: Migration,
  options: { suffixes: readonly string[]; once: boolean },
): Promise<void> {
  const checks = planLossChecks(schema, migration, options);
  if (!await findsRows(connection, checks)) return;
  const { version } = migration;
  throw new StreamStorageError({
    code: "FAILED_PRECONDITION",
    message: `Going down from version ${version} would lose data in schema ` +
      `${quoted(schema)}: make a backup and allow data loss`,
    details: { reason: "data_loss", schema, version },
  });
}

/** Our own track is useless without the tables that it extends. */
function assertTargets({ to, own }: MigrateDownOptions): void {
  assertTarget("to", nodeMigrations, to);
  assertTarget("own", to === 0 ? [] : ownMigrations, own);
}

function assertTarget(
  argument: "to" | "own",
  migrations: readonly Migration[],
  target: number | undefined,
): void {
  const targets = [0, ...migrations.map(({ version }) => version)];
  if (target === undefined || targets.includes(target)) return;
  throw new StreamStorageError({
    code: "INVALID_ARGUMENT",
    message: `The version to go down to must be one of ${
      targets.join(", ")
    }, received ${target}`,
    details: { reason: "bad_version", argument },
  });
}
