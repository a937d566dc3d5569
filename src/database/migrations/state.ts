/** The state of a schema, read without changing or locking anything. */

import type { MigrationConnection } from "./connection.ts";
import { searchPath } from "../search_path.ts";
import { quoteIdentifier, quoteLiteral } from "./sql_text.ts";
import { rollingBack } from "./transaction.ts";
import type { TrackVersions } from "./numbers.ts";

/** What is known of a schema before it is migrated. */
export interface SchemaState {
  /** Whether the schema exists. */
  exists: boolean;
  /** The recorded versions; 0 is none. */
  versions: TrackVersions;
  /** golang-migrate's mark of a migration that failed halfway. */
  dirty: boolean;
  /** Whether all three tables that precede the first version exist. */
  prepared: boolean;
  /** The stored number of partitions, if any. */
  partitions: number | undefined;
  /** The suffixes of the existing partition tables, sorted. */
  suffixes: string[];
  /** The database has Citus: it may be one of a cluster. */
  hasCitus: boolean;
}

const partitionTable = "miniblocks_";
const ownTable = "stream_storage_migrations";
const bookkeepingTables = [
  "schema_migrations",
  ownTable,
  "settings",
];

/**
 * Reads a schema's state. A reader needs no right on our own tables: tables
 * that it may not read count as missing.
 */
export async function readSchemaState(
  connection: MigrationConnection,
  schema: string,
  { ownOnlyIfReadable = false }: { ownOnlyIfReadable?: boolean } = {},
): Promise<SchemaState> {
  const { found, tables, figures } = await look(
    connection,
    schema,
    ownOnlyIfReadable,
  );
  const [version, dirty, ownVersion, partitions] = figures;
  const suffix = new RegExp(`^${partitionTable}([rm][0-9a-f]{2})$`);
  return {
    exists: found.exists,
    versions: { node: Number(version), own: Number(ownVersion) },
    dirty: dirty === "t",
    prepared: bookkeepingTables.every((name) => tables.has(name)),
    partitions: partitions === null ? undefined : Number(partitions),
    suffixes: [...tables].flatMap((name) => suffix.exec(name)?.[1] ?? [])
      .toSorted(),
    hasCitus: found.hasCitus,
  };
}

const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = ${searchPath};
`;

/**
 * Both reads use one snapshot. If another process is migrating the schema, its
 * number of partitions, read after the tables, would not match them, and a
 * healthy schema would be refused.
 */
function look(
  connection: MigrationConnection,
  schema: string,
  ownOnlyIfReadable: boolean,
) {
  return rollingBack(connection, async () => {
    const [row] = await connection.script(begin + catalogSql(schema));
    const [hasCitus, exists, names, isOwnReadable] = row!;
    const tables = new Set<string>(JSON.parse(names ?? "[]"));
    if (ownOnlyIfReadable && isOwnReadable === "f") tables.delete(ownTable);
    const [figures] = await connection.script(
      `${figuresSql(schema, tables)};\nCOMMIT`,
    );
    return {
      found: { hasCitus: hasCitus === "t", exists: exists === "t" },
      tables,
      figures: figures as [string, string, string, string | null],
    };
  });
}

/**
 * Returns one row: whether there is Citus, whether the schema exists, the names
 * of its relevant tables as JSON, and whether we may read our own one. The
 * tables are found by the index on names: a database may have a hundred
 * thousand. A row for each of them would cost a process that has just started
 * 3 ms for 256 partitions.
 */
function catalogSql(schema: string): string {
  const names = bookkeepingTables.map(quoteLiteral).join(", ");
  const namespace = `pg_catalog.pg_namespace
      WHERE nspname = ${quoteLiteral(schema)}`;
  return `SELECT
  pg_catalog.to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL,
  EXISTS (SELECT FROM ${namespace}),
  pg_catalog.json_agg(c.relname::pg_catalog.text),
  pg_catalog.bool_and(c.relname <> ${quoteLiteral(ownTable)}
    OR pg_catalog.has_table_privilege(c.oid, 'SELECT'))
FROM pg_catalog.pg_class c
WHERE c.relnamespace = (SELECT oid FROM ${namespace})
  AND c.relkind IN ('r', 'p')
  AND (c.relname IN (${names}) OR c.relname >= '${partitionTable}m'
    AND c.relname < '${partitionTable}s')`;
}

/** No program writes more than one row into schema_migrations. */
function figuresSql(schema: string, tables: ReadonlySet<string>): string {
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
