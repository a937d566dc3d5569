/**
 * Migrations on a real server, as functions and as a command: they make the
 * golden schema, wait for each other, and refuse schemas that they don't know.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, it } from "node:test";
import {
  checkMigrations,
  dropSchema,
  migrate,
  migrateDown,
  type MigrationProgress,
  printMigrations,
} from "../../src/database/migrations/mod.ts";
import type { MigrationConnection } from "../../src/database/migrations/connection.ts";
import { planPreparation } from "../../src/database/migrations/plan.ts";
import { currentVersions } from "../../src/database/migrations/numbers.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { dumpSchema } from "../support/migrations/schema_dump.ts";
import { openSession } from "../support/migration_connection.ts";
import {
  ownTables,
  withMigrationSchema,
} from "../support/migrations/schema.ts";

const golden = new URL("../golden/schema_2_partitions.txt", import.meta.url);

/** These tests may need longer than Bun's default of 5 s. */
const slow = { timeout: 120_000 };

/** Matches errors of this code, reason and text in `assert.rejects`. */
function failure(
  code: string,
  reason: string,
  text: RegExp = /./,
): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isStreamStorageError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.details.reason, reason, error.message);
    assert.match(error.message, text);
    assert.match(error.operation, /^(migrate|migrateDown|checkMigrations)$/);
    return true;
  };
}

describe("migrate", () => {
  it("installs the nodes' schema", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      const report = await up();
      assert.deepEqual({ ...report, elapsedMs: 0 }, {
        schema,
        from: 0,
        to: 9,
        ownFrom: 0,
        ownTo: currentVersions.own,
        partitions: 2,
        appliedVersions: [6, 7, 8, 9],
        elapsedMs: 0,
        warnings: [],
      });
      assert.ok(report.elapsedMs > 0);
      const dump = (await dumpSchema(session, schema)).join("\n") + "\n";
      if (process.env.UPDATE_GOLDEN) await writeFile(golden, dump);
      assert.equal(dump, await readFile(golden, "utf8"));
      assert.deepEqual(await sql("SELECT * FROM @.schema_migrations"), [
        ["9", "f"],
      ]);
      assert.deepEqual(await sql("SELECT * FROM @.settings"), [["t", "2"]]);
    }));

  it("does nothing, and needs no rights, if all is applied", () =>
    withMigrationSchema(async ({ session, schema, up }) => {
      await up();
      await session.script("SET default_transaction_read_only = on");
      const report = await up({
        beforeMigration: () => Promise.reject(new Error("The hook was called")),
      });
      assert.equal(report.from, 9);
      assert.deepEqual(report.appliedVersions, []);
      const check = await checkMigrations(session, { schema });
      assert.deepEqual([check.to, check.partitions], [9, 2]);
      await session.script("SET default_transaction_read_only = off");
    }));

  it("keeps the number of partitions of the first installation", () =>
    withMigrationSchema(async ({ session, schema, up }) => {
      await up();
      await migrateDown(session, { schema, to: 7 });
      for (let run = 0; run < 2; run++) {
        const report = await up({ partitions: 16 });
        assert.equal(report.partitions, 2);
        assert.match(report.warnings.join(), /16 partitions.*ignored/);
      }
      const dump = (await dumpSchema(session, schema)).join("\n") + "\n";
      assert.equal(dump, await readFile(golden, "utf8"));
    }));

  it("uses an existing schema, whatever its name", () =>
    withMigrationSchema(async ({ session }) => {
      for (const name of [`S "q" \\ '{{suffix}}' $& $$`, "ü".repeat(31)]) {
        const quoted = `"${name.replaceAll('"', '""')}"`;
        await session.script(`CREATE SCHEMA ${quoted}`);
        try {
          await migrate(session, { schema: name, partitions: 1 });
          const rows = await session.script(
            `SELECT version FROM ${quoted}.schema_migrations`,
          );
          assert.deepEqual(rows, [["9"]]);
          await checkMigrations(session, { schema: name });
          await migrateDown(session, { schema: name, to: 0 });
        } finally {
          await dropSchema(session, name);
        }
      }
    }));

  it("refuses bad names and numbers before it asks the database", () =>
    withMigrationSchema(async ({ session, up }) => {
      for (const schema of ["", "a\0b", "x".repeat(64), "\ud800"]) {
        await assert.rejects(
          migrate(session, { schema, partitions: 1 }),
          failure("BAD_CONFIG", "bad_schema_name"),
        );
      }
      for (const partitions of [0, 257, 1.5, NaN]) {
        await assert.rejects(
          up({ partitions }),
          failure("BAD_CONFIG", "bad_partitions", /received/),
        );
      }
    }));

  it(
    "installs 256 partitions with the locks of a server's default settings",
    slow,
    () =>
      withMigrationSchema(async ({ session, schema, up, sql }) => {
        const seen: MigrationProgress[] = [];
        await up({ partitions: 256, onProgress: (it) => seen.push(it) });
        const [[tables] = []] = await sql(
          `SELECT count(*) FROM pg_tables WHERE schemaname = '@'`,
        );
        // es, singlenodekey, settings, two tables of bookkeeping, and our own.
        const single = 5 + ownTables.length;
        assert.equal(Number(tables), 512 * 3 + 256 + single);
        assert.ok(seen.length > 4);
        assert.deepEqual(seen.map((it) => it.done), seen.map((_, i) => i + 1));
        assert.equal(seen.at(-1)!.done, seen.at(-1)!.total);
        const down = await migrateDown(session, { schema, to: 0 });
        assert.deepEqual(down.appliedVersions, [9, 8, 7, 6]);
      }),
  );

  it("runs the hook once, in a transaction before the first migration", () =>
    withMigrationSchema(async ({ schema, up, sql, session }) => {
      const tables = () =>
        sql("SELECT tablename FROM pg_tables WHERE schemaname = '@'");
      await assert.rejects(
        up({
          beforeMigration: async (transaction) => {
            assert.deepEqual(await tables(), []);
            await transaction.script(`CREATE TABLE ${schema}.hook (n int)`);
            throw new Error("Hook says no");
          },
        }),
        (error) => {
          assert.ok(isStreamStorageError(error), String(error));
          assert.match(error.message, /beforeMigration.*Hook says no/);
          return true;
        },
      );
      assert.deepEqual(await tables(), [], "The hook was not rolled back");
      await assert.rejects(
        up({
          beforeMigration: async (transaction) => {
            await transaction.script("SELECT 1 / 0").catch(() => undefined);
          },
        }),
        failure("DB_OPERATION_FAILURE", "database_error", /beforeMigration/),
      );
      let calls = 0;
      await up({
        beforeMigration: async (transaction) => {
          calls++;
          await transaction.script(`CREATE TABLE ${schema}.hook (n int)`);
        },
      });
      assert.equal(calls, 1);
      assert.equal((await checkMigrations(session, { schema })).to, 9);
    }));

  it("applies each version once if several processes start at once", () =>
    withMigrationSchema(async ({ url, schema }) => {
      const sessions = await Promise.all(
        Array.from({ length: 4 }, () => openSession(url)),
      );
      let hooks = 0;
      const reports = await Promise.all(
        sessions.map((session) =>
          migrate(session, {
            schema,
            partitions: 2,
            beforeMigration: () => Promise.resolve(void hooks++),
          })
        ),
      );
      assert.deepEqual(reports.map((it) => it.to), [9, 9, 9, 9]);
      const applied = reports.flatMap((it) => it.appliedVersions);
      assert.deepEqual(applied, [6, 7, 8, 9]);
      assert.equal(hooks, 1);
      await Promise.all(sessions.map((session) => session.close()));
    }));

  it("does not take another run's unfinished schema for a broken one", () =>
    withMigrationSchema(async ({ url, session, schema }) => {
      const other = await openSession(url);
      await other.script(`CREATE SCHEMA ${schema}`);
      await other.script(planPreparation(schema, 2));
      // The other run goes on between our looks at the tables and at their
      // rows.
      const slow: MigrationConnection = {
        script: async (sql) => {
          if (sql.includes("max(num_partitions)")) {
            await migrate(other, { schema, partitions: 2 });
          }
          return await session.script(sql);
        },
      };
      const report = await migrate(slow, { schema, partitions: 2 });
      assert.deepEqual([report.to, report.partitions], [9, 2]);
      await other.close();
    }));

  it("waits for another run until its signal aborts", () =>
    withMigrationSchema(async ({ url, schema, up, sql }) => {
      const other = await openSession(url);
      const abort = new AbortController();
      await migrate(other, {
        schema,
        partitions: 2,
        beforeMigration: async () => {
          await assert.rejects(
            up({
              signal: abort.signal,
              onProgress: ({ state }) => {
                assert.equal(state, "waiting");
                abort.abort(new Error("No longer wanted"));
              },
            }),
            (error) => isStreamStorageError(error, "CANCELED"),
          );
          const tables = await sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = '@'",
          );
          assert.deepEqual(tables, []);
        },
      });
      await other.close();
      await up();
    }));

  it("stops between two transactions when its signal aborts", () =>
    withMigrationSchema(async ({ session, schema, up }) => {
      const abort = new AbortController();
      await assert.rejects(
        up({ signal: abort.signal, onProgress: () => abort.abort() }),
        (error) => isStreamStorageError(error, "CANCELED"),
      );
      await assert.rejects(
        checkMigrations(session, { schema }),
        failure("BAD_CONFIG", "schema_not_current", /version 6/),
      );
      assert.deepEqual((await up()).appliedVersions, [7, 8, 9]);
    }));
});

describe("A broken or unknown schema", () => {
  const cases: [reason: string, change: string][] = [
    ["schema_dirty", "UPDATE @.schema_migrations SET dirty = true"],
    ["schema_dirty", "INSERT INTO @.schema_migrations VALUES (8, false)"],
    ["schema_version_too_old", "UPDATE @.schema_migrations SET version = 5"],
    ["schema_version_too_new", "UPDATE @.schema_migrations SET version = 10"],
    [
      "schema_version_too_new",
      `INSERT INTO @.stream_storage_migrations VALUES (${
        currentVersions.own + 1
      })`,
    ],
    ["schema_partitions_wrong", "UPDATE @.settings SET num_partitions = 3"],
    ["schema_partitions_wrong", "UPDATE @.settings SET num_partitions = 0"],
  ];
  for (const [reason, change] of cases) {
    it(`is refused with ${reason} after ${change}`, () =>
      withMigrationSchema(async ({ session, schema, up, sql }) => {
        await up();
        await sql(change);
        const before = await dumpSchema(session, schema);
        const refused = failure("BAD_CONFIG", reason);
        await assert.rejects(up(), refused);
        await assert.rejects(checkMigrations(session, { schema }), refused);
        await assert.rejects(
          migrateDown(session, { schema, to: 0, allowDataLoss: true }),
          refused,
        );
        assert.deepEqual(await dumpSchema(session, schema), before);
      }));
  }
});

describe("checkMigrations", () => {
  it("refuses a schema that is not current, and changes nothing", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      const refused = failure("BAD_CONFIG", "schema_not_current");
      await assert.rejects(checkMigrations(session, { schema }), refused);
      const schemas = "SELECT 1 FROM pg_namespace WHERE nspname = '@'";
      assert.deepEqual(await sql(schemas), []);
      await up();
      await sql(`DROP TABLE ${ownTables.join(", ")}`);
      await sql("DELETE FROM @.stream_storage_migrations");
      await assert.rejects(checkMigrations(session, { schema }), refused);
      await up();
      await migrateDown(session, { schema, to: 8 });
      await assert.rejects(checkMigrations(session, { schema }), refused);
    }));

  it("guesses no number of partitions if the settings are lost", () =>
    withMigrationSchema(async ({ schema, up, sql, session }) => {
      await up({ partitions: 4 });
      await sql("DELETE FROM @.settings");
      await assert.rejects(
        checkMigrations(session, { schema }),
        failure("BAD_CONFIG", "schema_not_current"),
      );
      for (const partitions of [2, 5]) {
        await assert.rejects(
          up({ partitions }),
          failure("BAD_CONFIG", "schema_partitions_wrong"),
        );
      }
      assert.equal((await up({ partitions: 4 })).partitions, 4);
      await checkMigrations(session, { schema });
    }));
});

describe("printMigrations", () => {
  it("prints SQL that does what migrate does", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      await session.script(printMigrations({ schema, partitions: 2 }));
      const dump = (await dumpSchema(session, schema)).join("\n") + "\n";
      assert.equal(dump, await readFile(golden, "utf8"));
      assert.deepEqual((await up()).appliedVersions, []);
      await migrateDown(session, { schema, to: 7 });
      const rest = {
        schema,
        partitions: 2,
        from: 7,
        ownFrom: currentVersions.own,
      };
      await session.script(printMigrations(rest));
      await checkMigrations(session, { schema });
      await migrateDown(session, { schema, to: 6 });
      await assert.rejects(
        session.script(printMigrations(rest)),
        /expected version 7, found 6/,
      );
      await session.script("ROLLBACK");
      const locks = `SELECT pg_advisory_unlock_all()`;
      await session.script(locks);
      assert.deepEqual(await sql("SELECT * FROM @.schema_migrations"), [
        ["6", "f"],
      ]);
    }));
});

describe("The command migrate", () => {
  const program = fileURLToPath(
    new URL("../../src/cli/main.ts", import.meta.url),
  );
  const prefix = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
  const run = (args: string[], env: Record<string, string> = {}) =>
    promisify(execFile)(process.execPath, [
      ...prefix,
      program,
      "migrate",
      ...args,
    ], {
      env: { ...process.env, STREAM_STORAGE_URL: "", ...env },
      maxBuffer: 8 << 20,
    });

  it(
    "goes up, checks, prints and goes down",
    slow,
    () =>
      withMigrationSchema(async ({ url, schema }) => {
        const target = ["--schema", schema];
        const env = { STREAM_STORAGE_URL: url };
        const up = await run(
          ["up", ...target, "--partitions", "3", "--json"],
          env,
        );
        const report = JSON.parse(up.stdout);
        assert.deepEqual([report.from, report.to, report.partitions], [
          0,
          9,
          3,
        ]);
        const check = await run(["check", ...target], env);
        assert.match(check.stdout, /version\s9/);
        const print = await run(["print", ...target], env);
        assert.doesNotMatch(print.stdout, /CREATE TABLE \S+\.es /);
        const fresh = await run(["print", "--schema", schema]);
        assert.match(fresh.stdout, /CREATE TABLE \S+\.es /);
        const down = await run(["down", ...target, "--to", "8"], env);
        assert.match(down.stdout, /version\s8/);
        await assert.rejects(run(["check", ...target], env), (error) => {
          const { code, stdout } = error as unknown as {
            code: number;
            stdout: string;
          };
          assert.equal(code, 1);
          assert.match(stdout, /schema_not_current/);
          return true;
        });
        const own = await run(["down", ...target, "--own", "5"], env);
        assert.match(own.stdout, /version\s8,\sown\s5,\swas\sat\s8,\sown\s\d/);
        await assert.rejects(run(["down", ...target], env), /--to/);
        await assert.rejects(
          run(["sideways", ...target], env),
          /Unknown command/,
        );
      }),
  );

  it("prints the rights of three roles without a server", slow, async () => {
    const args = ["grants", "--schema", "s", "--migrate-role", "m"];
    const more = ["--run-role", "r", "--read-role", "d"];
    const { stdout } = await run([...args, ...more]);
    assert.match(stdout, /GRANT USAGE ON SCHEMA "s" TO "r", "d";/);
    await assert.rejects(run(args), /--run-role/);
  });
});
