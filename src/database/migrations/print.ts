/** Prints migrations as SQL for a database administrator to read and run. */

import {
  type ClusterPlan,
  planCluster,
  printedTransaction,
} from "./cluster.ts";
import type { MigrationConnection } from "./connection.ts";
import { lockKeys } from "./lock.ts";
import { planPreparation, planUp } from "./plan.ts";
import { assertPartitions, isCurrent, refuseUnusable } from "./refusals.ts";
import { assertSchemaName, quoteIdentifier } from "./sql_text.ts";
import { readSchemaState } from "./state.ts";
import { migrationFailure } from "./transaction.ts";
import { currentVersions } from "./numbers.ts";

/** The options of {@linkcode printMigrations}. */
export interface PrintMigrationsOptions {
  schema: string;
  /** 1 to 256; must equal the stored number, if one is stored. */
  partitions: number;
  /** The nodes' version that the schema has. Default 0: none. */
  from?: number | undefined;
  /** The version of our own track that it has. Default 0. */
  ownFrom?: number | undefined;
}

/**
 * The SQL that `migrate` would run, with the same lock and the same
 * transactions. At another version than `from` the script stops before it
 * changes anything, provided that the client stops at the first error.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`: a bad schema name or number.
 */
export function printMigrations(options: PrintMigrationsOptions): string {
  return printOn(undefined, options);
}

function printOn(
  cluster: ClusterPlan | undefined,
  options: PrintMigrationsOptions,
): string {
  const { schema, partitions, from = 0, ownFrom = 0 } = options;
  assertSchemaName(schema);
  assertPartitions(partitions);
  const range = { from: { node: from, own: ownFrom }, to: currentVersions };
  const steps = planUp(schema, range, partitions, cluster?.last)
    .flatMap(({ migration: { track, version }, transactions }) =>
      transactions.map((sql, i) => {
        const part = `part ${i + 1} of ${transactions.length}`;
        return `-- Up to ${track} version ${version}, ${part}\n` +
          printedTransaction(sql, cluster);
      })
    );
  const keys = lockKeys(schema);
  return [
    "-- Stop at the first error: psql -v ON_ERROR_STOP=1 -f THIS_FILE",
    ...cluster === undefined
      ? []
      : ["SET citus.enable_schema_based_sharding = off;"],
    `CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(schema)};`,
    ...cluster?.first ?? [],
    `SELECT pg_catalog.pg_advisory_lock(${keys});`,
    `-- Preparation\n${
      printedTransaction(planPreparation(schema, partitions), cluster)
    }`,
    ...steps,
    `SELECT pg_catalog.pg_advisory_unlock(${keys});\n`,
  ].join("\n\n");
}

/**
 * The SQL that a schema, which may be missing, still needs; a comment if it
 * needs none. Changes nothing.
 *
 * @throws {StreamStorageError} `BAD_CONFIG` as `migrate`; the driver's error.
 */
export async function printPendingMigrations(
  connection: MigrationConnection,
  options: { schema: string; partitions: number },
): Promise<string> {
  const { schema } = options;
  try {
    assertSchemaName(schema);
    const state = await readSchemaState(connection, schema);
    refuseUnusable(schema, state);
    if (isCurrent(state)) return "-- The schema is current\n";
    const cluster = await planCluster(connection, schema, state);
    return printOn(cluster, {
      schema,
      partitions: state.partitions ?? options.partitions,
      from: state.versions.node,
      ownFrom: state.versions.own,
    });
  } catch (error) {
    throw migrationFailure(error, {
      operation: "printPendingMigrations",
      schema,
      activity: "Printing of the migrations",
    });
  }
}
