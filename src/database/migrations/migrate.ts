/**
 * Migrating a schema up, and checking that it needs none.
 *
 * 1. Read where the schema stands. If everything is applied, nothing is
 *    locked, written or needs a right to change the schema.
 * 2. Take the migration lock and read again.
 * 3. Create the schema; run the caller's hook; prepare (bookkeeping tables and
 *    the number of partitions, which is fixed from here on); one transaction
 *    each.
 * 4. Run the plan (plan.ts says why a run may be interrupted anywhere).
 */

import type { MigrationConnection } from "./connection.ts";
import { withMigrationLock } from "./lock.ts";
import {
  planLossChecks,
  planPreparation,
  planUp,
  type TrackVersions,
} from "./plan.ts";
import {
  assertPartitions,
  isCurrent,
  notCurrent,
  refusal,
  refuseUnknownPartitions,
  refuseUnusable,
} from "./refusals.ts";
import {
  type MigrationProgress,
  type MigrationReport,
  ProgressTeller,
} from "./report.ts";
import { nodeVersionsOf, runSteps } from "./run.ts";
import { assertSchemaName, quoteIdentifier } from "./sql_text.ts";
import { readSchemaState, type SchemaState } from "./state.ts";
import { migrationFailure, runHook, runTransaction } from "./transaction.ts";
import { currentVersions, nodeMigrations } from "./versions.ts";

/** What {@linkcode migrate} is asked to do. */
export interface MigrateOptions {
  /** The schema; created when it is missing. */
  schema: string;
  /** 1 to 256; a schema that has a number already keeps it. */
  partitions: number;
  /** Told after each transaction, and while another process migrates. */
  onProgress?: ((progress: MigrationProgress) => void) | undefined;
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
  let activity = "Migration";
  try {
    assertSchemaName(schema);
    assertPartitions(options.partitions);
    const run = new UpRun(connection, options, (name) => activity = name);
    return await run.run();
  } catch (error) {
    const operation = "migrate";
    throw migrationFailure(error, { operation, schema, activity, signal });
  }
}

/**
 * Checks that a schema is current; changes and locks nothing.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `schema_not_current` when
 *   migrations are due, and the reasons of {@linkcode migrate}.
 */
export async function checkMigrations(
  connection: MigrationConnection,
  options: { schema: string },
): Promise<MigrationReport> {
  const { schema } = options;
  const progress = new ProgressTeller(undefined);
  try {
    assertSchemaName(schema);
    const state = await readSchemaState(connection, schema);
    refuseUnusable(schema, state);
    if (!isCurrent(state)) throw notCurrent(schema, state);
    return reportOf(schema, { from: state.versions, state, progress });
  } catch (error) {
    throw migrationFailure(error, {
      operation: "checkMigrations",
      schema,
      activity: "Check of the migrations",
    });
  }
}

class UpRun {
  readonly #connection: MigrationConnection;
  readonly #options: MigrateOptions;
  readonly #onActivity: (activity: string) => void;
  readonly #progress: ProgressTeller;

  constructor(
    connection: MigrationConnection,
    options: MigrateOptions,
    onActivity: (activity: string) => void,
  ) {
    this.#connection = connection;
    this.#options = options;
    this.#onActivity = onActivity;
    this.#progress = new ProgressTeller(options.onProgress);
  }

  async run(): Promise<MigrationReport> {
    const state = await this.#readState();
    if (isCurrent(state)) return this.#report(state, state.versions);
    const { schema, signal } = this.#options;
    return await withMigrationLock(
      this.#connection,
      schema,
      () => this.#runLocked(),
      { signal, onWaiting: () => this.#progress.wait() },
    );
  }

  async #runLocked(): Promise<MigrationReport> {
    const before = await this.#readState();
    if (isCurrent(before)) return this.#report(before, before.versions);
    const { schema, signal } = this.#options;
    const partitions = await this.#prepare(before);
    const steps = planUp(
      schema,
      { from: before.versions, to: currentVersions },
      partitions,
    );
    await runSteps(steps, {
      connection: this.#connection,
      progress: this.#progress,
      direction: "up",
      signal,
      onActivity: this.#onActivity,
    });
    const after = { ...before, versions: currentVersions, partitions };
    return this.#report(after, before.versions, nodeVersionsOf(steps));
  }

  /** Everything before the first version; returns the number of partitions. */
  async #prepare(before: SchemaState): Promise<number> {
    const { schema, partitions, beforeMigration, signal } = this.#options;
    signal?.throwIfAborted();
    this.#onActivity("Preparation");
    refuseUnknownPartitions(schema, before, partitions);
    await refuseLeftOvers(this.#connection, schema, before);
    if (!before.exists) {
      // Only when it is missing: the statement asks for the right to create
      // one before it looks whether there is any need.
      const name = quoteIdentifier(schema);
      await runTransaction(this.#connection, `CREATE SCHEMA ${name};`);
    }
    if (beforeMigration !== undefined) {
      this.#onActivity("Hook beforeMigration");
      await runHook(this.#connection, beforeMigration);
      this.#onActivity("Preparation");
    }
    if (before.prepared && before.partitions !== undefined) {
      return before.partitions;
    }
    const sql = planPreparation(schema, partitions);
    await runTransaction(this.#connection, sql);
    // Not the option: the hook may have stored another number.
    const { partitions: stored } = await this.#readState();
    return stored ?? partitions;
  }

  async #readState(): Promise<SchemaState> {
    const { schema } = this.#options;
    const state = await readSchemaState(this.#connection, schema);
    refuseUnusable(schema, state);
    return state;
  }

  #report(
    state: SchemaState,
    from: TrackVersions,
    appliedVersions: number[] = [],
  ): MigrationReport {
    const { schema, partitions } = this.#options;
    const warnings = state.partitions === partitions ? [] : [
      `The option of ${partitions} partitions is ignored: schema ` +
      `${JSON.stringify(schema)} was installed with ${state.partitions}`,
    ];
    const progress = this.#progress;
    const report = reportOf(schema, { from, state, progress });
    return { ...report, appliedVersions, warnings };
  }
}

/**
 * Refuses rows in partition tables of a schema that has no version: what an
 * interrupted way down left, or a restore without schema_migrations. Taking
 * them for the rows of new streams would be wrong.
 */
async function refuseLeftOvers(
  connection: MigrationConnection,
  schema: string,
  state: SchemaState,
): Promise<void> {
  if (state.versions.node !== 0 || state.suffixes.length === 0) return;
  const first = nodeMigrations[0]!;
  const checks = planLossChecks(schema, first, {
    suffixes: state.suffixes,
    once: false,
  });
  for (const sql of checks) {
    const [[found] = []] = await connection.script(sql);
    if (found !== "t") continue;
    throw refusal(
      "schema_not_empty",
      `Schema ${JSON.stringify(schema)} has no version but rows in its ` +
        "partition tables: complete an interrupted `migrate down --to 0`, or " +
        "restore its schema_migrations row",
      { schema },
    );
  }
}

function reportOf(
  schema: string,
  result: { from: TrackVersions; state: SchemaState; progress: ProgressTeller },
): MigrationReport {
  const { from, state, progress } = result;
  return {
    schema,
    from: from.node,
    to: state.versions.node,
    ownFrom: from.own,
    ownTo: state.versions.own,
    partitions: state.partitions,
    appliedVersions: [],
    elapsedMs: progress.elapsedMs,
    warnings: [],
  };
}
