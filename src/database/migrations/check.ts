/** Checks whether a schema is current: all that most openings need. */

import { quoted } from "../../storage/foreign_text.ts";
import { refuseLocalTables } from "./cluster.ts";
import type { MigrationConnection } from "./connection.ts";
import {
  assertPartitions,
  isCurrent,
  notCurrent,
  refuseUnusable,
} from "./refusals.ts";
import { type MigrationReport, RunProgress } from "./report.ts";
import { assertSchemaName } from "./sql_text.ts";
import { readSchemaState, type SchemaState } from "./state.ts";
import { migrationFailure } from "./transaction.ts";

/**
 * Checks that a schema is current; changes and locks nothing.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `schema_not_current` when
 *   migrations are missing, and the reasons of `migrate`.
 */
export async function checkMigrations(
  connection: MigrationConnection,
  options: { schema: string },
): Promise<MigrationReport> {
  const { schema } = options;
  const progress = new RunProgress();
  progress.activity = "Check of the migrations";
  try {
    assertSchemaName(schema);
    const state = await readUsable(connection, schema);
    if (!isCurrent(state)) throw notCurrent(schema, state);
    if (state.hasCitus) await refuseLocalTables(connection, schema);
    return progress.report(schema, state.versions, state);
  } catch (error) {
    const { activity } = progress;
    const operation = "checkMigrations";
    throw migrationFailure(error, { operation, schema, activity });
  }
}

/**
 * The report of `migrate` if it would have nothing to do, otherwise undefined.
 *
 * @throws {StreamStorageError} as `migrate`.
 */
export async function reportIfCurrent(
  connection: MigrationConnection,
  options: { schema: string; partitions: number },
): Promise<MigrationReport | undefined> {
  const { schema, partitions } = options;
  const progress = new RunProgress();
  try {
    assertSchemaName(schema);
    assertPartitions(partitions);
    const state = await readUsable(connection, schema);
    return isCurrent(state) ? reportOf(options, progress, state) : undefined;
  } catch (error) {
    const { activity } = progress;
    const operation = "migrate";
    throw migrationFailure(error, { operation, schema, activity });
  }
}

/** Reads the state of a schema, and refuses one that must not be worked on. */
export async function readUsable(
  connection: MigrationConnection,
  schema: string,
): Promise<SchemaState> {
  const state = await readSchemaState(connection, schema);
  refuseUnusable(schema, state);
  return state;
}

/** The report of a run. */
export function reportOf(
  { schema, partitions }: { schema: string; partitions: number },
  progress: RunProgress,
  after: Pick<SchemaState, "versions" | "partitions">,
  before = after,
): MigrationReport {
  const report = progress.report(schema, before.versions, after);
  if (report.partitions !== partitions) {
    report.warnings.push(
      `The option of ${partitions} partitions is ignored, because schema ` +
        `${quoted(schema)} was installed with ${report.partitions}`,
    );
  }
  return report;
}
