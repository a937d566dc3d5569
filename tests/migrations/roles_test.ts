/**
 * The three roles of `migrate grants` on a real server: each can do its work,
 * and the server refuses everything else.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  checkMigrations,
  migrate,
  migrateDown,
  printGrants,
} from "../../src/database/migrations/mod.ts";
import {
  quoteIdentifier,
  quoteLiteral,
} from "../../src/database/migrations/sql_text.ts";
import { PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { openSession } from "../support/migration_connection.ts";
import {
  installRoles,
  makeRoles,
  type RoleName,
  type RolesFixture,
} from "../support/migrations/roles.ts";
import { sharedStoreContract } from "../support/shared_store_contract.ts";

const data = new Uint8Array([1]);
const genesis = { number: 0n, data, snapshot: data };
const bookkeeping = [
  "schema_migrations",
  "stream_storage_migrations",
  "settings",
];

let roles: RolesFixture;
const sessions = {} as Record<RoleName, Session>;

before(async () => {
  roles = await installRoles();
  await roles.admin.script(`DROP SCHEMA IF EXISTS roles_other CASCADE;
    CREATE SCHEMA roles_other; CREATE TABLE roles_other.t (a int)`);
  for (const role of ["migrate", "run", "read"] as const) {
    sessions[role] = await openSession(roles.urls[role]);
  }
});

after(async () => {
  for (const session of Object.values(sessions)) await session.close();
  await roles.admin.script("DROP SCHEMA roles_other CASCADE");
  await roles[Symbol.asyncDispose]();
});

/** Runs SQL as the role; `@` stands for the schema. */
function sql(role: RoleName, text: string): Promise<(string | null)[][]> {
  const schema = quoteIdentifier(roles.schema);
  return sessions[role].script(text.replaceAll("@", () => schema));
}

async function assertRefused(role: RoleName, text: string): Promise<void> {
  await assert.rejects(
    sql(role, text),
    (error: unknown) => error instanceof PgError && error.sqlState === "42501",
    `${role}: ${text}`,
  );
}

/** All tables of the schema. */
async function tables(): Promise<string[]> {
  const rows = await roles.admin.script(
    `SELECT relname FROM pg_class
     WHERE relkind IN ('r', 'p') AND relnamespace = ${schemaOid()} ORDER BY 1`,
  );
  return rows.map(([name]) => name!);
}

function schemaOid(): string {
  return `${quoteLiteral(quoteIdentifier(roles.schema))}::regnamespace`;
}

/** What only the schema's owner or an administrator may do. */
const notForOthers = [
  "CREATE TABLE @.extra (a int)",
  "CREATE FUNCTION @.extra() RETURNS int LANGUAGE sql AS 'SELECT 1'",
  "CREATE INDEX ON @.es (migrated)",
  "DROP TABLE @.es",
  "DROP FUNCTION @.notify_on_upsert() CASCADE",
  "DROP TRIGGER notify_on_singlenodekey_upserts ON @.singlenodekey",
  "DROP SCHEMA @ CASCADE",
  "ALTER TABLE @.es ADD COLUMN extra int",
  "ALTER TABLE @.singlenodekey DISABLE TRIGGER ALL",
  "ALTER SCHEMA @ RENAME TO taken",
  "ALTER DEFAULT PRIVILEGES FOR ROLE ~migrate GRANT ALL ON TABLES TO PUBLIC",
  "SET ROLE ~migrate",
  ...bookkeeping.flatMap((table) => [
    `INSERT INTO @.${table} DEFAULT VALUES`,
    `UPDATE @.${table} SET ${
      table === "settings" ? "num_partitions" : "version"
    } = 1`,
    `DELETE FROM @.${table}`,
    `SELECT * FROM @.${table} FOR UPDATE`,
  ]),
];

/** What no role of a store may do. */
const notForAnybody = [
  "CREATE SCHEMA extra",
  "CREATE ROLE extra",
  "CREATE TABLE roles_other.extra (a int)",
  "SELECT * FROM roles_other.t",
  "COPY (SELECT 1) TO PROGRAM 'true'",
  "SELECT pg_read_file('PG_VERSION')",
  "ALTER SYSTEM SET jit = off",
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = 10",
];

async function refuseAll(role: RoleName, texts: string[]): Promise<void> {
  for (const text of texts) {
    await assertRefused(
      role,
      text.replace("~migrate", () => roles.names.migrate),
    );
  }
}

describe("The run role", () => {
  it("may not truncate any table", async () => {
    for (const table of await tables()) {
      await assertRefused("run", `TRUNCATE @.${quoteIdentifier(table)}`);
    }
  });

  it("may not change the schema, its bookkeeping or anything outside", () =>
    refuseAll("run", [...notForOthers, ...notForAnybody]));

  it("takes a schema over from another instance, and loses it to one", async () => {
    const { schema } = roles;
    const options = { url: roles.urls.run, schema, startupDelayMs: 0 };
    await using first = await openStreamStorage({
      ...options,
      migrate: "check",
    });
    const id = newStreamId();
    await first.createStreamStorage(id, genesis);
    await using second = await openStreamStorage({
      ...options,
      migrate: "skip",
    });
    assert.ok(first.signal.aborted);
    await second.writeEvent(id, 1n, 0, data);
    await second.deleteStream(id);
  });

  it("opens a current schema, even if the option is to migrate it", async () => {
    const { schema } = roles;
    await using storage = await openStreamStorage({
      url: roles.urls.run,
      schema,
      partitions: roles.partitions,
    });
    assert.equal(await storage.getStreamsNumber(), 0);
  });

  it("gets an error that names the right which it lacks", async () => {
    const { schema, admin, names, urls } = roles;
    await using storage = await openStreamStorage({
      url: urls.run,
      schema,
      migrate: "check",
    });
    const es = `${quoteIdentifier(schema)}.es`;
    await admin.script(`REVOKE INSERT ON ${es} FROM ${names.run}`);
    await assert.rejects(
      storage.createStreamStorage(newStreamId(), genesis),
      (error: unknown) => {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
        assert.equal(error.details.reason, "insufficient_privilege");
        assert.equal(error.details.sqlState, "42501");
        assert.match(error.message, /table es/);
        assert.match(error.message, /migrate grants/);
        assert.equal(error.outcome, "rolled_back");
        return !error.retryable;
      },
    );
    await roles.grant();
    await storage.createStreamStorage(newStreamId(), genesis);
  });

  describe("keeps the contract", () => {
    sharedStoreContract(async (cleanUp) => {
      const { schema, partitions, urls } = cleanUp.use(await installRoles());
      return { url: urls.run, schema, partitions, startupDelayMs: 0 };
    });
  });
});

describe("The read role", () => {
  it("reads every table, and may lock it as pg_dump does", async () => {
    for (const table of await tables()) {
      const name = `@.${quoteIdentifier(table)}`;
      await sql("read", `SELECT * FROM ${name}`);
      await sql("read", `BEGIN; LOCK TABLE ${name} IN ACCESS SHARE MODE; END`);
    }
  });

  it("may not change a table or lock a row", async () => {
    for (const table of await tables()) {
      const name = `@.${quoteIdentifier(table)}`;
      await refuseAll(
        "read",
        [
          `INSERT INTO ${name} DEFAULT VALUES`,
          `DELETE FROM ${name}`,
          `TRUNCATE ${name}`,
          `SELECT * FROM ${name} FOR SHARE`,
          `BEGIN; LOCK TABLE ${name} IN SHARE ROW EXCLUSIVE MODE`,
        ],
      );
      await sql("read", "ROLLBACK");
    }
  });

  it("may not change the schema, its bookkeeping or anything outside", () =>
    refuseAll("read", [...notForOthers, ...notForAnybody]));

  it("can't open a store, and the owner stays the owner", async () => {
    const { schema, urls } = roles;
    await using storage = await openStreamStorage({
      url: urls.run,
      schema,
      migrate: "check",
    });
    const opening = openStreamStorage({
      url: urls.read,
      schema,
      migrate: "check",
    });
    await assert.rejects(
      opening,
      (error: unknown) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "insufficient_privilege",
    );
    await storage.createStreamStorage(newStreamId(), genesis);
    assert.ok(!storage.signal.aborted);
  });
});

describe("The migrate role", () => {
  it("may not do anything outside its schema", () =>
    refuseAll("migrate", notForAnybody));

  it("migrates down and up, and opens a store", async () => {
    await using own = await installRoles();
    const { schema, partitions, urls } = own;
    const session = await openSession(urls.migrate);
    await migrateDown(session, { schema, to: 6, allowDataLoss: true });
    await migrate(session, { schema, partitions });
    await checkMigrations(session, { schema });
    await own.grant(session); // Later grants need no administrator.
    await session.close();
    await using storage = await openStreamStorage({
      url: urls.migrate,
      schema,
      partitions,
    });
    await storage.createStreamStorage(newStreamId(), genesis);
  });

  it("becomes the owner of a schema that another role has made", async () => {
    await using own = await makeRoles();
    const { schema, partitions, urls, admin } = own;
    await migrate(admin, { schema, partitions });
    await own.grant();
    const session = await openSession(urls.migrate);
    await migrateDown(session, { schema, to: 0, allowDataLoss: true });
    await session.close();
  });
});

describe("printGrants", () => {
  it("changes nothing the second time", async () => {
    const rights = () =>
      roles.admin.script(
        `SELECT relname, relacl::text, relowner FROM pg_class
           WHERE relnamespace = ${schemaOid()}
         UNION ALL SELECT nspname, nspacl::text, nspowner FROM pg_namespace
           WHERE oid = ${schemaOid()}
         UNION ALL SELECT 'later', defaclacl::text, defaclrole
           FROM pg_default_acl WHERE defaclnamespace = ${schemaOid()}
         ORDER BY 1, 2`,
      );
    const before = await rights();
    await roles.grant();
    assert.deepEqual(await rights(), before);
  });

  it("grants rights on the tables of later versions, too", async () => {
    await sql("migrate", "CREATE TABLE @.later_r00 (a int)");
    await sql("run", "INSERT INTO @.later_r00 VALUES (1)");
    await sql("run", "DELETE FROM @.later_r00");
    await assertRefused("run", "TRUNCATE @.later_r00");
    await sql("read", "SELECT * FROM @.later_r00");
    await assertRefused("read", "INSERT INTO @.later_r00 VALUES (1)");
    await sql("migrate", "DROP TABLE @.later_r00");
  });

  it("grants no rights on tables if it runs before the first migration", async () => {
    await using own = await makeRoles();
    await own.grant();
    const { schema, partitions, urls } = own;
    const session = await openSession(urls.migrate);
    await migrate(session, { schema, partitions });
    await session.close();
    const run = await openSession(urls.run);
    await assert.rejects(
      run.script(`SELECT * FROM ${quoteIdentifier(schema)}.es`),
      (error: unknown) =>
        error instanceof PgError && error.sqlState === "42501",
    );
    await run.close();
  });

  it("refuses impossible names, and one role in two places", () => {
    const good = {
      schema: "s",
      migrateRole: "m",
      runRole: "r",
      readRole: "d",
    };
    const cases: [Partial<typeof good>, string][] = [
      [{ schema: "" }, "bad_schema_name"],
      [{ runRole: "x".repeat(64) }, "bad_role_name"],
      [{ readRole: "a\0" }, "bad_role_name"],
      [{ readRole: "r" }, "roles_not_distinct"],
    ];
    for (const [bad, reason] of cases) {
      assert.throws(
        () => printGrants({ ...good, ...bad }),
        (error: unknown) =>
          isStreamStorageError(error, "BAD_CONFIG") &&
          error.details.reason === reason,
      );
    }
  });
});
