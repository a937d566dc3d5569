/** Checks whether a schema can be read as it is; a reader never migrates. */

import { quoted } from "../../storage/foreign_text.ts";
import type { MigrationConnection } from "./connection.ts";
import { refusal, refuseUnusable } from "./refusals.ts";
import { assertSchemaName } from "./sql_text.ts";
import { readSchemaState } from "./state.ts";
import { migrationFailure } from "./transaction.ts";
import { currentVersions } from "./numbers.ts";

/**
 * Checks that a reader knows the tables; changes and locks nothing, and needs
 * only the right to read the nodes' own tables. Our own tables may be missing.
 *
 * @returns the number of partitions.
 * @throws {StreamStorageError} `BAD_CONFIG`, reasons `schema_not_found`,
 *   `schema_not_current`, and those of `checkMigrations`.
 */
export async function checkReadable(
  connection: MigrationConnection,
  { schema, operation, mayLackTables = false }: {
    schema: string;
    operation: string;
    /** Whether the caller handles missing partition tables itself. */
    mayLackTables?: boolean;
  },
): Promise<number> {
  try {
    assertSchemaName(schema);
    const state = await readSchemaState(connection, schema, {
      ownOnlyIfReadable: true,
    });
    const name = quoted(schema);
    if (!state.exists) {
      const message = `Schema ${name} does not exist; a reader creates none`;
      throw refusal("schema_not_found", message, { schema });
    }
    // Without a number of partitions, no table counts as missing.
    refuseUnusable(
      schema,
      mayLackTables ? { ...state, partitions: undefined } : state,
    );
    const { partitions, versions: { node } } = state;
    if (node === currentVersions.node && partitions !== undefined) {
      return partitions;
    }
    const found = node === 0
      ? "holds no streams"
      : node === currentVersions.node
      ? "has no number of partitions"
      : `is at version ${node}`;
    throw refusal(
      "schema_not_current",
      `Schema ${name} ${found}, but a reader needs version ` +
        `${currentVersions.node}: let the owner of the schema migrate it`,
      { schema, version: node, needed: currentVersions.node },
    );
  } catch (error) {
    const activity = "Check of the schema";
    throw migrationFailure(error, { operation, schema, activity });
  }
}
