/**
 * Migrations in a Citus cluster.
 *
 * A new schema is migrated as on a plain server, because the statements that
 * make its tables don't work on distributed ones. Then the whole schema is
 * distributed. Two settings of Citus are off meanwhile: the one that would
 * distribute each table as it is made, and the refusal of triggers, of which
 * there is one. Distributing is part of the last transaction, so a current
 * schema is always where it should be.
 *
 * In a schema that is already distributed
 * - each statement is a message of its own: Citus forwards the text of several
 *   statements unchanged to the other servers, which accept one statement at a
 *   time;
 * - no ALTER TABLE has two changes (tests/migrations/cluster_form_test.ts);
 * - SET STORAGE, which Citus refuses, is sent to each server directly. That
 *   needs a connection of its own there, which waits for the transaction that
 *   holds the table, so it comes after that transaction. If the process dies in
 *   between, values stay compressed, which `verify` reports.
 *
 * All of this runs on the coordinator, the only server that accepts such
 * changes. Without the coordinator Citus refuses them, and tables made in a DO
 * block would silently stay on one server.
 */

import { printable, quoted } from "../../storage/foreign_text.ts";
import type { MigrationConnection } from "./connection.ts";
import { refusal } from "./refusals.ts";
import { quoteIdentifier, quoteLiteral, splitStatements } from "./sql_text.ts";
import type { SchemaState } from "./state.ts";
import {
  beginSql,
  findsRows,
  rollingBack,
  type RunTransaction,
  runTransaction,
  transactionSql,
} from "./transaction.ts";

/** What a server of a cluster says about a schema before its migration. */
export interface ClusterState {
  /** Whether the server accepts changes of schemas. */
  isCoordinator: boolean;
  /** Whether the schema lives on one server of the cluster, as a whole. */
  isDistributed: boolean;
  /** Whether new schemas are distributed (enable_schema_based_sharding). */
  isWanted: boolean;
  /** Some server may hold schemas; Citus chooses itself where it knows none. */
  hasPlace: boolean;
}

/** Asks a server whose database has Citus. */
export async function readClusterState(
  connection: MigrationConnection,
  schema: string,
): Promise<ClusterState> {
  const [row] = await connection.script(
    `SELECT groupid = 0, EXISTS (SELECT FROM pg_catalog.pg_dist_schema
      WHERE schemaid::pg_catalog.oid = (SELECT oid
        FROM pg_catalog.pg_namespace WHERE nspname = ${quoteLiteral(schema)})),
      pg_catalog.current_setting('citus.enable_schema_based_sharding')::boolean,
      NOT EXISTS (SELECT FROM pg_catalog.pg_dist_node) OR EXISTS (
        SELECT FROM pg_catalog.pg_dist_node
        WHERE isactive AND shouldhaveshards)
    FROM pg_catalog.pg_dist_local_group`,
  );
  const [isCoordinator, isDistributed, isWanted, hasPlace] = row!
    .map((it) => it === "t");
  return {
    isCoordinator: isCoordinator!,
    isDistributed: isDistributed!,
    isWanted: isWanted!,
    hasPlace: hasPlace!,
  };
}

/**
 * @throws {StreamStorageError} BAD_CONFIG, reason `cluster_needs_coordinator`.
 */
export function assertCoordinator(
  schema: string,
  { isCoordinator }: ClusterState,
): void {
  if (isCoordinator) return;
  throw refusal(
    "cluster_needs_coordinator",
    `Schema ${quoted(schema)} can be changed only by the cluster's ` +
      "coordinator, but this server is a worker node: give the coordinator's " +
      "address",
    { schema },
  );
}

/** What a migration in a cluster needs besides the versions. */
export interface ClusterPlan {
  /** Whether the tables are distributed while the versions are applied. */
  isDistributed: boolean;
  /** Statements before everything else. */
  first: string[];
  /** Statements at the end of the last transaction. */
  last: string[];
}

/**
 * Plans how to migrate the schema: as a distributed one, or as a plain one that
 * is distributed in the end if that is wanted. Only a schema without streams is
 * distributed: its operator decides about moving stored data.
 *
 * @throws {StreamStorageError} as {@linkcode assertCoordinator}.
 */
export async function planCluster(
  connection: MigrationConnection,
  schema: string,
  { hasCitus, versions: { node } }: SchemaState,
): Promise<ClusterPlan | undefined> {
  if (!hasCitus) return undefined;
  const cluster = await readClusterState(connection, schema);
  assertCoordinator(schema, cluster);
  const name = quoteLiteral(quoteIdentifier(schema));
  const distribute =
    `SELECT pg_catalog.citus_schema_distribute(${name}::regnamespace);`;
  const undistribute =
    `SELECT pg_catalog.citus_schema_undistribute(${name}::regnamespace);`;
  if (cluster.isDistributed) {
    return node > 0
      ? { isDistributed: true, first: [], last: [] }
      // It has none of our tables, or none any more.
      : { isDistributed: false, first: [undistribute], last: [distribute] };
  }
  const hasStreams = `SELECT EXISTS (SELECT FROM ${
    quoteIdentifier(schema)
  }.es)`;
  const isWanted = cluster.isWanted &&
    (node === 0 || !await findsRows(connection, [hasStreams]));
  if (isWanted && !cluster.hasPlace) {
    throw refusal(
      "cluster_has_no_workers",
      `Schema ${quoted(schema)} is to be distributed, but no server of the ` +
        "cluster may hold it: add a worker node with citus_add_node, or set " +
        "citus.enable_schema_based_sharding = off for the database",
      { schema },
    );
  }
  const last = isWanted ? [distribute] : [];
  return { isDistributed: false, first: [], last };
}

/** How to run transactions on such a schema; undefined outside of a cluster. */
export function runnerFor(
  cluster: Pick<ClusterPlan, "isDistributed"> | undefined,
): RunTransaction {
  if (cluster === undefined) return runTransaction;
  if (cluster.isDistributed) return runOneByOne;
  return (connection, statements) =>
    runTransaction(connection, `${clusterSettings}\n${statements}`);
}

/** Settings of each transaction in a cluster. */
const clusterSettings = `SET LOCAL citus.enable_schema_based_sharding = off;
SET LOCAL citus.enable_unsafe_triggers = on;`;

/** A transaction's SQL, for a client that sends statements separately. */
export function printedTransaction(
  statements: string,
  cluster: Pick<ClusterPlan, "isDistributed"> | undefined,
): string {
  if (cluster === undefined) return transactionSql(statements);
  const ours = (sql: string) => transactionSql(`${clusterSettings}\n${sql}`);
  if (!cluster.isDistributed) return ours(statements);
  const { statements: together, after } = forDistributed(statements);
  return [
    ours(together.map((each) => `${each};`).join("\n")),
    ...after.map((each) => `${each};`),
  ].join("\n");
}

/**
 * Refuses tables that did not go with their distributed schema, because something
 * made them in a DO block or a function. Only the coordinator sees them; what is
 * written there by their names is not where the rest is.
 *
 * @throws {StreamStorageError} BAD_CONFIG, reason `cluster_local_tables`.
 */
export async function refuseLocalTables(
  connection: MigrationConnection,
  schema: string,
): Promise<void> {
  const rows = await connection.script(localTablesSql(quoteLiteral(schema)));
  if (rows.length === 0) return;
  const tables = rows.map(([name]) => name!);
  const named = tables.slice(0, 3).map((name) => quoted(name)).join(", ");
  const more = tables.length > 3 ? ` and ${tables.length - 3} more` : "";
  throw refusal(
    "cluster_local_tables",
    `Schema ${quoted(schema)} is distributed, but not its tables ${named}` +
      `${more}: move each into another schema and back with ALTER TABLE … SET ` +
      "SCHEMA",
    { schema, tables: tables.slice(0, 20) },
  );
}

/**
 * Tables of a distributed schema that stayed on this server; shards are none.
 * `schema` is a literal or a parameter.
 */
export function localTablesSql(schema: string): string {
  return `SELECT c.relname::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_dist_schema AS s
      ON s.schemaid::pg_catalog.oid = n.oid
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = ${schema} AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition AS p
        WHERE p.logicalrelid::pg_catalog.oid = c.oid)
      AND NOT pg_catalog.relation_is_a_known_shard(c.oid::pg_catalog.regclass)
    ORDER BY 1`;
}

/** A transaction's statements on distributed tables, and what follows it. */
export interface DistributedTransaction {
  statements: string[];
  after: string[];
}

/** Adapts statements for distributed tables; see the head of this file. */
export function forDistributed(statements: string): DistributedTransaction {
  const all = splitStatements(statements);
  return {
    statements: all.filter((each) => storageChange(each) === undefined),
    after: all.flatMap((each) => {
      const table = storageChange(each);
      return table === undefined ? [] : everywhereSql(table, each);
    }),
  };
}

async function runOneByOne(
  connection: MigrationConnection,
  transaction: string,
): Promise<(string | null)[][]> {
  const { statements, after } = forDistributed(transaction);
  const last = await rollingBack(connection, async () => {
    await connection.script(`${beginSql}\n${clusterSettings}`);
    let last: (string | null)[][] = [];
    for (const statement of statements) {
      const rows = await connection.script(statement);
      if (rows.length > 0) last = rows;
    }
    await connection.script("COMMIT");
    return last;
  });
  for (const statement of after) {
    const refused = (await connection.script(statement))
      .find(([isDone]) => isDone !== "t");
    if (refused === undefined) continue;
    throw refusal(
      "cluster_server_refused",
      `A server of the cluster refused a change that the others accepted: ${
        printable(refused[1] ?? "", 200)
      }`,
      {},
    );
  }
  return last;
}

/** The table whose storage the statement sets, if it sets one. */
function storageChange(statement: string): string | undefined {
  return /^ALTER TABLE ((?:"(?:[^"]|"")*"|\w+)\.\w+)\s+ALTER COLUMN \w+ SET STORAGE \w+$/
    .exec(statement)?.[1];
}

/** Runs on every server for its own name of the table, and for the shard. */
function everywhereSql(table: string, statement: string): string[] {
  const local = `SET LOCAL citus.enable_ddl_propagation = off; ${statement}`;
  const ofShard = statement.replaceAll("%", "%%").replace(
    table.replaceAll("%", "%%"),
    () => "%s",
  );
  return [
    `SELECT success, result FROM pg_catalog.run_command_on_all_nodes(${
      quoteLiteral(local)
    })`,
    `SELECT success, result FROM pg_catalog.run_command_on_placements(${
      quoteLiteral(table)
    }::regclass, ${quoteLiteral(ofShard)})`,
  ];
}
