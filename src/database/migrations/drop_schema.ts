/** Drops a schema with everything in it, for tests and demos. */

import type { MigrationConnection } from "./connection.ts";
import { quoteIdentifier, quoteLiteral } from "./sql_text.ts";
import { runTransaction } from "./transaction.ts";

/**
 * Tables dropped by one transaction. `DROP SCHEMA … CASCADE` alone needs more
 * locks for 256 partitions than a default server has (measured: "out of shared
 * memory" on PostgreSQL 18).
 */
const tablesPerTransaction = 100;

/** Drops the schema with everything in it; a missing schema is no error. */
export async function dropSchema(
  connection: MigrationConnection,
  schema: string,
): Promise<void> {
  const name = quoteIdentifier(schema);
  const listTables = `SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = (
  SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ${
    quoteLiteral(schema)
  }
) AND relkind IN ('r', 'p') LIMIT ${tablesPerTransaction};`;
  for (;;) {
    const rows = await runTransaction(connection, listTables);
    if (rows.length === 0) break;
    const tables = rows.map(([table]) => `${name}.${quoteIdentifier(table!)}`);
    await runTransaction(
      connection,
      `DROP TABLE IF EXISTS ${tables.join(", ")} CASCADE;`,
    );
  }
  await runTransaction(connection, `DROP SCHEMA IF EXISTS ${name} CASCADE;`);
}
