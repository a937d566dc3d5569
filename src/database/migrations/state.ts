/** Where a schema stands, read without changing or locking anything. */

import type { MigrationConnection } from "./connection.ts";
import { searchPath } from "../search_path.ts";
import { quoteIdentifier, quoteLiteral } from "./sql_text.ts";
import { rollingBack } from "./transaction.ts";
import type { TrackVersions } from "./versions.ts";

/** What is known of a schema before it is migrated. */
export interface SchemaState {
  /** Whether the schema itself is there. */
  exists: boolean;
  /** The recorded versions; 0 is nothing. */
  versions: TrackVersions;
  /** golang-migrate's mark of a migration that failed half-way. */
  dirty: boolean;
  /** All three tables that come before the first version are there. */
  prepared: boolean;
  /** The stored number of partitions, undefined when none is stored. */
  partitions: number | undefined;
  /** Suffixes of the partition tables that are there, sorted. */
  suffixes: string[];
}

const partitionTable = "miniblocks_";
const ownTable = "stream_storage_migrations";
const bookkeepingTables = [
  "schema_migrations",
  ownTable,
  "settings",
];

/**
 * Reads a schema's state. A reader needs no right on our own tables: those that
 * it may not read are as good as not there.
 */
export async function readSchemaState(
  connection: MigrationConnection,
  schema: string,
  { ownOnlyIfReadable = false }: { ownOnlyIfReadable?: boolean } = {},
): Promise<SchemaState> {
  const { rows, tables, figures } = await look(
    connection,
    schema,
    ownOnlyIfReadable,
  );
  const prepared = bookkeepingTables.every((name) => tables.has(name));
  const [version, dirty, ownVersion, partitions] = figures[0]!;
  return {
    exists: rows.length > 0,
    versions: { node: Number(version), own: Number(ownVersion) },
    dirty: dirty === "t",
    prepared,
    partitions: partitions === null ? undefined : Number(partitions),
    suffixes: [...tables].filter((name) => name?.startsWith(partitionTable))
      .map((name) => name!.slice(partitionTable.length)).toSorted(),
  };
}

const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = ${searchPath};
`;

/**
 * Both looks see one state. Another process may be migrating the schema: its
 * number of partitions, read after the tables, would not fit those, and a schema
 * in good order would be refused.
 */
function look(
  connection: MigrationConnection,
  schema: string,
  ownOnlyIfReadable: boolean,
) {
  return rollingBack(connection, async () => {
    const rows = await connection.script(begin + catalogSql(schema));
    const tables = new Set(rows.map(([name]) => name));
    const isUnread = rows.some(([name, isReadable]) =>
      name === ownTable && isReadable === "f"
    );
    if (ownOnlyIfReadable && isUnread) tables.delete(ownTable);
    const figures = await connection.script(figuresSql(schema, tables));
    await connection.script("COMMIT");
    return { rows, tables, figures };
  });
}

/**
 * The tables of interest, and whether we may read them; or one row without a name;
 * or, without the schema, no row.
 */
function catalogSql(schema: string): string {
  return `SELECT c.relname, pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
  AND c.relkind IN ('r', 'p')
  AND c.relname::pg_catalog.text ~ '^(${
    bookkeepingTables.join("|")
  }|${partitionTable}[rm][0-9a-f]{2})$'
WHERE n.nspname = ${quoteLiteral(schema)}`;
}

/** More than one row in schema_migrations is nothing that anybody writes. */
function figuresSql(schema: string, tables: ReadonlySet<unknown>): string {
  const select = (expression: string, table: string) =>
    tables.has(table)
      ? `(SELECT ${expression} FROM ${quoteIdentifier(schema)}.${table})`
      : "NULL";
  return `SELECT ${
    [
      select("pg_catalog.max(version)", "schema_migrations"),
      select(
        "pg_catalog.bool_or(dirty) OR pg_catalog.count(*) > 1",
        "schema_migrations",
      ),
      select("pg_catalog.max(version)", ownTable),
      select("pg_catalog.max(num_partitions)", "settings"),
    ].join(",\n  ")
  }`;
}
