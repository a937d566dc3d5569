/**
 * A database full of traps. An attacker with only CREATE on it and on `public`
 * has made operators, functions, types, casts, collations and views that an
 * unqualified name could find instead of PostgreSQL's own. A trap that runs
 * increments a sequence, which no rollback undoes, and fails with the name of
 * the role that ran it.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { quoteIdentifier } from "../../src/database/migrations/sql_text.ts";
import { queryOnce, testDatabaseUrl } from "./database.ts";

/** The hostile database, and ways into it. */
export interface HostileDatabase extends AsyncDisposable {
  /** The administrator's URL. */
  url: string;
  /** URLs of an ordinary role, and of one whose search path begins with traps. */
  urls: { plain: string; steered: string };
  /** The names of the roles. */
  roles: { plain: string; steered: string };
  /** A search path with traps, but no operators, before pg_catalog. */
  namesFirst: string;
  /** The number of times that a trap has run. */
  traps(): Promise<number>;
}

/** Types of our statements' operands, and types to which they could be cast. */
const types = [
  '"char"',
  ...["bool", "int2", "int4", "int8", "float8", "numeric", "text", "varchar"],
  ...["bpchar", "name", "bytea", "timestamp", "timestamptz", "interval", "oid"],
  ...["regclass", "xid", "xid8", "tid", "json", "bool[]", "int8[]", "text[]"],
  ...["bpchar[]", "bytea[]", "xid[]", "tid[]"],
].map((name) => `pg_catalog.${name}`);

const comparisons = ["=", "<>", "<", ">", "<=", ">=", "~", "!~", "~~", "!~~"];
const arithmetic = ["+", "-", "*", "/", "||"];

const typeNames = [
  ...["bool", "int2", "int4", "int8", "float8", "text", "varchar", "bpchar"],
  ...["name", "bytea", "timestamptz", "oid", "regclass", "regrole", "xid"],
  ...["xid8", "tid", "json", "jsonb"],
];

const viewNames = [
  ...["pg_class", "pg_namespace", "pg_proc", "pg_database", "pg_locks"],
  ...["pg_stat_activity", "es", "settings", "singlenodekey"],
  ...["schema_migrations", "stream_storage_migrations"],
];

const functionNames = [
  ...["array_agg", "ascii", "bool_or", "cardinality", "concat", "count"],
  ...["current_database", "current_setting", "format", "json_build_object"],
  ...["left", "max", "min", "now", "octet_length", "pg_advisory_lock"],
  ...["pg_advisory_unlock", "pg_backend_pid", "pg_control_system"],
  ...["pg_current_wal_lsn", "pg_current_xact_id", "pg_is_in_recovery"],
  ...["pg_notify", "pg_terminate_backend", "pg_try_advisory_lock"],
  ...["pg_walfile_name", "pg_xact_status", "power", "random", "row_number"],
  ...["set_config", "sha256", "sum", "to_regclass", "unnest"],
];

/** Makes the database on the tests' server, which takes a few seconds. */
export async function makeHostileDatabase(): Promise<HostileDatabase> {
  const server = await testDatabaseUrl();
  const mark = randomUUID().replaceAll("-", "").slice(0, 12);
  const database = `hostile_${mark}`;
  const password = randomUUID();
  const roles = { plain: `plain_${mark}`, steered: `steered_${mark}` };
  const mallory = `mallory_${mark}`;
  const names = `names_${mark}`;
  const urlOf = (role?: string) => {
    const url = new URL(server);
    url.pathname = database;
    if (role === undefined) return url.href;
    url.username = role;
    url.password = password;
    return url.href;
  };
  await queryOnce(server, `CREATE DATABASE ${database}`);
  // The default of PostgreSQL 14 and earlier.
  await queryOnce(urlOf(), "GRANT CREATE ON SCHEMA public TO PUBLIC");
  const made = [mallory, roles.plain, roles.steered];
  for (const role of made) {
    await queryOnce(
      server,
      `CREATE ROLE ${role} LOGIN PASSWORD '${password}';
       GRANT CREATE ON DATABASE ${database} TO ${role}`,
    );
  }
  await layTraps(urlOf(mallory), roles.plain, names);
  const path = `${roles.plain}, public, pg_catalog`;
  const steer = `ALTER ROLE ${roles.steered} SET search_path = ${path}`;
  await queryOnce(server, steer);
  return {
    url: urlOf(),
    urls: { plain: urlOf(roles.plain), steered: urlOf(roles.steered) },
    roles,
    namesFirst: `${names}, pg_catalog`,
    traps: async () => {
      const [row] = await queryOnce(
        urlOf(),
        "SELECT last_value, is_called FROM evil.traps",
      );
      return row!.is_called ? Number(row!.last_value) : 0;
    },
    [Symbol.asyncDispose]: async () => {
      await queryOnce(server, `DROP DATABASE ${database} WITH (FORCE)`);
      for (const role of made) await queryOnce(server, `DROP ROLE ${role}`);
    },
  };
}

/** Makes the traps as the attacker: in "$user", whose name is free, and public. */
async function layTraps(
  url: string,
  user: string,
  names: string,
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`CREATE SCHEMA evil; CREATE SEQUENCE evil.traps;
      GRANT USAGE ON SCHEMA evil TO PUBLIC;
      GRANT USAGE ON SEQUENCE evil.traps TO PUBLIC;
      CREATE TYPE evil.lure AS ENUM ('lure');
      CREATE FUNCTION evil.trap(what pg_catalog.text) RETURNS pg_catalog.bool
      LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_catalog.nextval('evil.traps'::pg_catalog.regclass);
        RAISE EXCEPTION 'Trap: % ran as %', what, CURRENT_USER;
      END $$`);
    await client.query(operands());
    for (const schema of [user, "public"]) {
      await makeSchema(client, schema);
      await client.query(operatorsIn(schema));
      await client.query(namesIn(schema));
    }
    await makeSchema(client, names);
    await client.query(namesIn(names));
  } finally {
    await client.end();
  }
}

async function makeSchema(client: pg.Client, name: string): Promise<void> {
  if (name === "public") return;
  await client.query(
    `CREATE SCHEMA ${name}; GRANT USAGE ON SCHEMA ${name} TO PUBLIC`,
  );
}

const list = (items: readonly string[]) =>
  `ARRAY[${items.map((item) => `'${item}'`).join(", ")}]`;

/** A type to which all others are cast implicitly, and the operators' functions. */
function operands(): string {
  return `DO $do$ DECLARE l pg_catalog.text; r pg_catalog.text; BEGIN
    FOREACH l IN ARRAY ${list(types)} LOOP
      EXECUTE pg_catalog.format('CREATE FUNCTION evil.lured(%s)
        RETURNS evil.lure LANGUAGE plpgsql AS $$ BEGIN
          PERFORM evil.trap(''cast of %1$s''); RETURN NULL; END $$', l);
      EXECUTE pg_catalog.format('CREATE CAST (%s AS evil.lure)
        WITH FUNCTION evil.lured(%1$s) AS IMPLICIT', l);
    END LOOP;
    FOREACH l IN ARRAY ${list([...types, "evil.lure"])} LOOP
      FOREACH r IN ARRAY ${list([...types, "evil.lure"])} LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.compare(%s, %s)
          RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
            RETURN evil.trap(''operator of %1$s and %2$s''); END $$', l, r);
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.reckon(%s, %s)
          RETURNS %1$s LANGUAGE plpgsql AS $$ BEGIN
            PERFORM evil.trap(''operator of %1$s and %2$s'');
            RETURN NULL; END $$', l, r);
      END LOOP;
    END LOOP;
  END $do$`;
}

function operatorsIn(schema: string): string {
  return `DO $do$ DECLARE
    o pg_catalog.text; l pg_catalog.text; r pg_catalog.text; BEGIN
    FOREACH l IN ARRAY ${list([...types, "evil.lure"])} LOOP
      FOREACH r IN ARRAY ${list([...types, "evil.lure"])} LOOP
        FOREACH o IN ARRAY ${list(comparisons)} LOOP
          EXECUTE pg_catalog.format('CREATE OPERATOR ${schema}.%s (LEFTARG = %s,
            RIGHTARG = %s, FUNCTION = evil.compare)', o, l, r);
        END LOOP;
        FOREACH o IN ARRAY ${list(arithmetic)} LOOP
          EXECUTE pg_catalog.format('CREATE OPERATOR ${schema}.%s (LEFTARG = %s,
            RIGHTARG = %s, FUNCTION = evil.reckon)', o, l, r);
        END LOOP;
      END LOOP;
    END LOOP;
  END $do$`;
}

/** Traps that are functions, types, views and a collation. */
function namesIn(schema: string): string {
  const signatures = [
    "",
    ...types,
    "pg_catalog.name, pg_catalog.name",
    "pg_catalog.text, pg_catalog.text",
    "pg_catalog.text, pg_catalog.int4",
    "pg_catalog.int4, pg_catalog.int4",
    "pg_catalog.int4, pg_catalog.int8",
    "pg_catalog.int8, pg_catalog.int8",
    "pg_catalog.text, pg_catalog.text, pg_catalog.bool",
    "pg_catalog.text, VARIADIC pg_catalog.text[]",
  ];
  return `DO $do$ DECLARE n pg_catalog.text; s pg_catalog.text; BEGIN
    FOREACH n IN ARRAY ${list(functionNames)} LOOP
      FOREACH s IN ARRAY ${list(signatures)} LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION ${schema}.%I(%s)
          RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
            RETURN evil.trap(''function %1$s''); END $$', n, s);
      END LOOP;
    END LOOP;
    FOREACH n IN ARRAY ${list(viewNames)} LOOP
      EXECUTE pg_catalog.format('CREATE VIEW ${schema}.%I AS
        SELECT evil.trap(''view %1$s'') AS oid', n);
      EXECUTE pg_catalog.format('GRANT SELECT ON ${schema}.%I TO PUBLIC', n);
    END LOOP;
    FOREACH n IN ARRAY ${list(typeNames)} LOOP
      EXECUTE pg_catalog.format('CREATE DOMAIN ${schema}.%I AS pg_catalog.%1$I
        CHECK (evil.trap(''type %1$s''))', n);
    END LOOP;
    EXECUTE 'CREATE COLLATION ${schema}."C" FROM pg_catalog."POSIX"';
  END $do$`;
}

/** Traps in pg_temp, where an earlier client of a pooled session left them. */
export const temporaryTraps: readonly string[] = [
  ...viewNames.map((name) =>
    `CREATE TEMPORARY VIEW ${quoteIdentifier(name)} AS
      SELECT evil.trap('temporary view ${name}') AS oid`
  ),
  ...typeNames.map((name) =>
    `CREATE DOMAIN pg_temp.${quoteIdentifier(name)} AS pg_catalog.${
      quoteIdentifier(name)
    } CHECK (evil.trap('temporary type ${name}'))`
  ),
];
