/**
 * Three roles of a schema, and the SQL that gives each its rights.
 *
 * - migrate owns the schema and everything in it.
 * - run is for `openStreamStorage` with `migrate: "check"` or `"skip"`: it
 *   reads and writes rows. To lock rows and the table of owners it needs UPDATE
 *   and DELETE there; LISTEN, notifications and advisory locks need no right.
 * - read may read everything and change nothing: for readers, queries, dumps.
 *   It can't open a store, because that would become the schema's owner.
 */

import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { searchPath } from "../search_path.ts";
import {
  assertRoleName,
  assertSchemaName,
  quoteIdentifier,
  quoteLiteral,
} from "./sql_text.ts";

/** The options of {@linkcode printGrants}. */
export interface PrintGrantsOptions {
  /** The schema. */
  schema: string;
  /** The role that owns the schema: `migrate up`, `migrate down`. */
  migrateRole: string;
  /** The role that opens stores with `migrate: "check"` or `"skip"`. */
  runRole: string;
  /** The role that reads the tables. */
  readRole: string;
}

/** Tables that only migrations write. */
const bookkeeping = [
  "schema_migrations",
  "stream_storage_migrations",
  "settings",
];

/** The names of the options, quoted. */
interface Names {
  schema: string;
  migrate: string;
  run: string;
  read: string;
}

/**
 * The SQL that gives three roles their rights on a schema, as a script for
 * psql. It creates the schema if it is missing, revokes earlier rights of the
 * roles on it, and may be repeated. It grants no rights on tables before the
 * schema is migrated.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reasons `bad_schema_name`,
 *   `bad_role_name`, `roles_not_distinct`.
 */
export function printGrants(options: PrintGrantsOptions): string {
  const { schema, migrateRole, runRole, readRole } = options;
  assertSchemaName(schema);
  const roles = [migrateRole, runRole, readRole];
  for (const role of roles) assertRoleName(role);
  if (new Set(roles).size < roles.length) {
    throw new StreamStorageError({
      code: "BAD_CONFIG",
      message: "The roles to migrate, run and read must differ, received " +
        roles.map((role) => quoted(role)).join(", "),
      details: { reason: "roles_not_distinct", roles },
    });
  }
  const names = {
    schema: quoteIdentifier(schema),
    migrate: quoteIdentifier(migrateRole),
    run: quoteIdentifier(runRole),
    read: quoteIdentifier(readRole),
  };
  return [
    headSql(options),
    `-- The schema belongs to the migrate role.\n${createSql(schema, names)}`,
    `-- Objects of other roles become the migrate role's, one by one: each waits
-- until nobody uses its table.
${takeOverSql(schema, names)}`,
    `-- All rights in one transaction; a running store does not notice it.\n${
      rightsSql(names)
    }`,
  ].join("\n\n") + "\n";
}

function headSql(
  { schema, migrateRole, runRole, readRole }: PrintGrantsOptions,
): string {
  const shown = (name: string) => quoted(name);
  return `-- Rights on schema ${shown(schema)}:
--   migrate  ${shown(migrateRole)}
--   run      ${shown(runRole)}
--   read     ${shown(readRole)}
-- The roles must exist. Run this as a superuser: for a new schema before
-- \`migrate up\` and again after it, later after each \`migrate up\`, then as
-- the migrate role, too: psql -v ON_ERROR_STOP=1 -f THIS_FILE
-- Rights that PUBLIC has on the database (CONNECT, TEMPORARY) stay as they are.
SET search_path = ${searchPath};`;
}

/** CREATE SCHEMA IF NOT EXISTS needs its right even if the schema exists. */
function createSql(schema: string, names: Names): string {
  const name = quoteLiteral(schema);
  return doBlock(`BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = ${name})
  THEN
    CREATE SCHEMA ${names.schema} AUTHORIZATION ${names.migrate};
  END IF;
END`);
}

/** A transaction over many partitions would fill the server's lock table. */
function takeOverSql(schema: string, names: Names): string {
  const owner = quoteLiteral(names.migrate);
  return doBlock(`DECLARE
  owner pg_catalog.oid := ${owner}::pg_catalog.regrole;
  command pg_catalog.text;
BEGIN
  FOR command IN
    SELECT pg_catalog.format('SCHEMA %I', n.nspname)
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname = ${quoteLiteral(schema)} AND n.nspowner <> owner
    UNION ALL
    SELECT pg_catalog.format('TABLE %I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ${quoteLiteral(schema)} AND c.relkind IN ('r', 'p')
      AND c.relowner <> owner
    UNION ALL
    SELECT pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ${quoteLiteral(schema)} AND p.proowner <> owner
  LOOP
    EXECUTE 'ALTER ' || command || ' OWNER TO ' || ${owner};
    COMMIT;
  END LOOP;
END`);
}

function rightsSql(names: Names): string {
  const { schema, migrate, run, read } = names;
  const tables = `ALL TABLES IN SCHEMA ${schema}`;
  const kept = bookkeeping.map((table) => `${schema}.${table}`).join(
    ",\n      ",
  );
  const later =
    `ALTER DEFAULT PRIVILEGES FOR ROLE ${migrate} IN SCHEMA ${schema}`;
  const isMissing = bookkeeping
    .map((table) =>
      `pg_catalog.to_regclass(${quoteLiteral(`${schema}.${table}`)}) IS NULL`
    ).join("\n    OR ");
  return `BEGIN;
REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC, ${run}, ${read};
GRANT USAGE ON SCHEMA ${schema} TO ${run}, ${read};
REVOKE ALL ON ${tables} FROM PUBLIC, ${run}, ${read};
${
    doBlock(`BEGIN
  IF ${isMissing}
  THEN
    RAISE NOTICE 'No tables yet: run this again after migrate up';
  ELSE
    GRANT SELECT ON ${tables} TO ${run}, ${read};
    GRANT INSERT, UPDATE, DELETE ON ${tables} TO ${run};
    REVOKE INSERT, UPDATE, DELETE ON
      ${kept}
      FROM ${run};
    -- Tables that later versions add.
    ${later}
      REVOKE ALL ON TABLES FROM PUBLIC, ${run}, ${read};
    ${later}
      GRANT SELECT ON TABLES TO ${run}, ${read};
    ${later}
      GRANT INSERT, UPDATE, DELETE ON TABLES TO ${run};
  END IF;
END`)
  }
COMMIT;`;
}

/** The body between dollar quotes that do not occur in it. */
function doBlock(body: string): string {
  let tag = "$grants$";
  while (body.includes(tag)) tag = `${tag.slice(0, -1)}_$`;
  return `DO ${tag}\n${body}\n${tag};`;
}
