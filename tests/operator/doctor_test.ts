/**
 * The doctor on a real server: every check is silent while all is well, and
 * finds a fault that is planted for it and repaired afterwards.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/embedded/mod.ts";
import type { EmbeddedPostgres } from "../../src/embedded/mod.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { checkNames } from "../../src/operator/doctor/diagnosis.ts";
import { checkServer } from "../../src/operator/doctor/server_checks.ts";
import { type Diagnosis, doctor } from "../../src/operator/mod.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import { runCommand } from "../support/programs/command.ts";
import { queryOnce } from "../support/database.ts";
import { startPgBouncer } from "../support/poolers/pgbouncer.ts";

const schema = "ward";
let server: EmbeddedPostgres;

const sql = (text: string) => queryOnce(server.url, text);

/** The results that are not ok, as `level check: found`. */
async function ills(
  options: Partial<Parameters<typeof doctor>[0]> = {},
): Promise<string[]> {
  const { diagnoses } = await doctor({ url: server.url, ...options });
  return diagnoses.filter(({ level }) => level !== "ok").map(shown);
}

function shown({ level, check, found }: Diagnosis): string {
  return `${level} ${check}: ${found}`;
}

before(async () => {
  server = await startEmbeddedPostgres({
    settings: {
      max_connections: "20",
      // Room for 200 locks, and a queue of half a megabyte.
      max_locks_per_transaction: "10",
      max_notify_queue_pages: "64",
      autovacuum_freeze_max_age: "100000",
      // A planted fault has to last until the doctor has seen it.
      autovacuum_naptime: "1h",
    },
  });
});
after(() => server[Symbol.asyncDispose]());

/** Reloads the settings, and waits until new sessions have them. */
async function reload(name: string, value: string): Promise<void> {
  await sql("SELECT pg_reload_conf()");
  for (;;) {
    const [row] = await sql(`SHOW ${name}`);
    if (row?.[name] === value) return;
  }
}

/** A planted fault, the doctor's result, and the repair. */
interface Ill {
  title: string;
  make: string | (() => Promise<unknown>);
  finds: RegExp[];
  mend: string | (() => Promise<unknown>);
}

function systemSetting(
  name: string,
  [bad, good]: [string, string],
  found: RegExp,
): Ill {
  return {
    title: `${name} = ${bad}`,
    make: async () => {
      await sql(`ALTER SYSTEM SET ${name} = '${bad}'`);
      await reload(name, bad);
    },
    finds: [found],
    mend: async () => {
      await sql(`ALTER SYSTEM RESET ${name}`);
      await reload(name, good);
    },
  };
}

function roleSetting(name: string, value: string, found: RegExp): Ill {
  return {
    title: `${name} of a role`,
    make: `ALTER ROLE postgres SET ${name} = '${value}'`,
    finds: [found],
    // The setting must not keep the repairing session from its work.
    mend: `BEGIN READ WRITE; ALTER ROLE postgres RESET ${name}; COMMIT`,
  };
}

let held: pg.Client | undefined;

async function hold(...statements: string[]): Promise<void> {
  held = new pg.Client({ connectionString: server.url });
  await held.connect();
  for (const each of statements) await held.query(each);
}

async function letGo(): Promise<void> {
  await held?.end();
  held = undefined;
}

const table = `${schema}.miniblocks_r00`;

const serverIlls: Ill[] = [
  systemSetting("fsync", ["off", "on"], /^fail durability: fsync is off/),
  systemSetting(
    "full_page_writes",
    ["off", "on"],
    /^fail durability: full_page_writes is off/,
  ),
  systemSetting(
    "synchronous_commit",
    ["off", "on"],
    /^fail durability: synchronous_commit is off \(configuration file\)/,
  ),
  systemSetting(
    "statement_timeout",
    ["1min", "0"],
    /^warn role_settings: statement_timeout is "60000" for the server/,
  ),
  systemSetting(
    "autovacuum",
    ["off", "on"],
    /^fail dead_rows: autovacuum is off/,
  ),
  roleSetting(
    "statement_timeout",
    "20s",
    /^warn role_settings: statement_timeout is "20s" for role "postgres"/,
  ),
  roleSetting(
    "idle_session_timeout",
    "20s",
    /^warn role_settings: idle_session_timeout/,
  ),
  roleSetting("lock_timeout", "20s", /^warn role_settings: lock_timeout/),
  roleSetting(
    "default_transaction_read_only",
    "on",
    /^fail role_settings: default_transaction_read_only/,
  ),
  {
    title: "synchronous_commit = off of a role",
    make: "ALTER ROLE postgres SET synchronous_commit = 'off'",
    finds: [
      /^fail durability: synchronous_commit is off \(user\)/,
      /^fail role_settings: synchronous_commit is "off" for role "postgres"/,
    ],
    mend: "ALTER ROLE postgres RESET synchronous_commit",
  },
  {
    title: "statement_timeout of the database",
    make: "ALTER DATABASE postgres SET statement_timeout = '20s'",
    finds: [/^warn role_settings: statement_timeout .* for this database/],
    mend: "ALTER DATABASE postgres RESET statement_timeout",
  },
  {
    title: "a limit of the database",
    make: "ALTER DATABASE postgres CONNECTION LIMIT 5",
    finds: [
      /^fail connections: The stores may open 10 connections, the database allows 5/,
    ],
    mend: "ALTER DATABASE postgres CONNECTION LIMIT -1",
  },
  {
    title: "more tables than the lock table has places",
    make: `DO $$ BEGIN FOR i IN 1..150 LOOP
      EXECUTE 'CREATE TABLE public.many_' || i || ' ()'; COMMIT;
      END LOOP; END $$`,
    finds: [/^warn lock_table: Room for 200 locks, 2\d\d tables/],
    mend: `DO $$ BEGIN FOR i IN 1..150 LOOP
      EXECUTE 'DROP TABLE public.many_' || i; COMMIT; END LOOP; END $$`,
  },
  {
    title: "a listener that keeps the queue full",
    make: async () => {
      await hold("LISTEN never", "BEGIN", "SELECT 1");
      await sql(`SELECT pg_notify('never', repeat(i::text || '-', 2600))
        FROM generate_series(10, 49) AS i`);
    },
    finds: [/^(warn|fail) notifications: The queue of notifications is/],
    mend: async () => {
      await letGo();
      // Since PostgreSQL 13, reading the queue shortens it.
      await sql("SELECT pg_notification_queue_usage()");
    },
  },
  {
    title: "a replication slot without a reader",
    make: "SELECT pg_create_physical_replication_slot('gone', true)",
    finds: [/^warn replication_slots: Slot "gone" has no reader and keeps/],
    mend: "SELECT pg_drop_replication_slot('gone')",
  },
];

const schemaIlls: Ill[] = [
  {
    title: "a migration that failed half-way",
    make: `UPDATE ${schema}.schema_migrations SET dirty = true`,
    finds: [/^fail versions: .*failed half-way/],
    mend: `UPDATE ${schema}.schema_migrations SET dirty = false`,
  },
  {
    title: "a newer schema",
    make: `UPDATE ${schema}.schema_migrations SET version = 10`,
    finds: [/^fail versions: .*newer/, /^unknown tables/],
    mend: `UPDATE ${schema}.schema_migrations SET version = 9`,
  },
  {
    title: "a missing index",
    make: `DROP INDEX ${schema}.idx_es_ephemeral`,
    finds: [/^fail tables: es: .*idx_es_ephemeral/],
    mend: `CREATE INDEX idx_es_ephemeral ON ${schema}.es (stream_id)
      WHERE ephemeral`,
  },
  {
    title: "a column with another storage",
    make: `ALTER TABLE ${table} ALTER blockdata SET STORAGE extended`,
    finds: [/^fail tables: miniblocks_r00.blockdata: a column's storage/],
    mend: `ALTER TABLE ${table} ALTER blockdata SET STORAGE external`,
  },
  {
    title: "an index that is not valid",
    make: `SET allow_system_table_mods = on; UPDATE pg_index
      SET indisvalid = false WHERE indexrelid = '${table}_pkey'::regclass`,
    finds: [
      /^fail tables: miniblocks_r00: the primary key/,
      /^fail indexes: .*"miniblocks_r00_pkey" on "miniblocks_r00"/,
    ],
    mend: `REINDEX INDEX ${table}_pkey`,
  },
  {
    title: "a table with dead rows that autovacuum leaves out",
    make: async () => {
      await sql(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
      await sql(`INSERT INTO ${table} (stream_id, seq_num, blockdata)
        SELECT repeat('0', 64), i, '\\x00' FROM generate_series(1, 12000) AS i;
        DELETE FROM ${table}; SELECT pg_stat_force_next_flush()`);
    },
    finds: [
      /^warn dead_rows: Autovacuum leaves out "miniblocks_r00"/,
      /^warn dead_rows: .*miniblocks_r00 12000 of 12000, vacuumed never/,
    ],
    mend: async () => {
      await sql(`ALTER TABLE ${table} RESET (autovacuum_enabled)`);
      await sql(`VACUUM ${table}`);
    },
  },
  {
    title: "a publication of a table without replica identity",
    make: `CREATE PUBLICATION everything FOR ALL TABLES;
      ALTER TABLE ${schema}.singlenodekey REPLICA IDENTITY DEFAULT`,
    finds: [
      /^fail publications: Publication "everything" includes singlenodekey/,
    ],
    mend: `DROP PUBLICATION everything;
      ALTER TABLE ${schema}.singlenodekey REPLICA IDENTITY FULL`,
  },
  {
    title: "an owner that does not hold the lock",
    make: `INSERT INTO ${schema}.singlenodekey
      VALUES ('gone', now() AT TIME ZONE 'UTC', 'host')`,
    finds: [/^warn owner: gone is named as owner since/],
    mend: `DELETE FROM ${schema}.singlenodekey`,
  },
  {
    title: "a lock that another session holds",
    make: () => hold(`SELECT pg_advisory_lock(${schemaLockId(schema)})`),
    finds: [/^warn owner: No owner is named, but session \d+ of role/],
    mend: letGo,
  },
];

async function apply(step: Ill["make"]): Promise<void> {
  await (typeof step === "string" ? sql(step) : step());
}

function illsAreFound(list: readonly Ill[]): void {
  for (const { title, make, finds, mend } of list) {
    it(`finds ${title}`, async () => {
      try {
        await apply(make);
        const found = await ills();
        assert.equal(found.length, finds.length, found.join("\n"));
        for (const [i, each] of finds.entries()) assert.match(found[i]!, each);
      } finally {
        await apply(mend);
      }
    });
  }
}

describe("doctor", () => {
  it("finds nothing wrong with a store that is open", async () => {
    await using _ = await openStreamStorage({
      url: server.url,
      schema,
      partitions: 2,
      startupDelayMs: 0,
    });
    const report = await doctor({ url: server.url });
    const wrong = report.diagnoses.filter(({ level }) => level !== "ok");
    assert.deepEqual(wrong.map(shown), []);
    assert.deepEqual(
      report.diagnoses.map(({ check }) => check),
      [...checkNames],
    );
    assert.equal(report.schema, schema);
    assert.deepEqual(report.stores, [schema]);
  });

  describe("of a server", () => {
    illsAreFound(serverIlls);

    it("adds up the connections that stores may open", async () => {
      const [found] = await ills({ maxConnections: 18 });
      assert.match(found!, /may open 18 connections, the server allows 17/);
    });

    it("sees clocks that differ", async () => {
      const { now } = Date;
      try {
        Date.now = () => now() + 3_600_000;
        const found = await ills();
        assert.match(
          found.join("\n"),
          /^warn clock: The server's clock is 3\d\d\d s behind this machine's$/,
        );
      } finally {
        Date.now = now;
      }
    });

    it("sees a pooler in transaction mode", async () => {
      await using pooler = await startPgBouncer(server.url, {
        pool_mode: "transaction",
      });
      const found = await ills({ url: pooler.url });
      assert.match(
        found.join("\n"),
        /^warn pooler: .*transaction mode, where no lock holds$/,
      );
    });

    it("accepts a pooler in session mode", async () => {
      await using pooler = await startPgBouncer(server.url, {
        pool_mode: "session",
      });
      assert.deepEqual(await ills({ url: pooler.url }), []);
    });

    it("knows which versions are tested", () => {
      assert.equal(checkServer("15.1", 150_001).level, "ok");
      assert.equal(checkServer("14.9", 140_009).level, "fail");
      assert.equal(checkServer("19beta1", 190_000).level, "warn");
    });
  });

  describe("of a schema", () => {
    illsAreFound(schemaIlls);

    it("reports a schema that is not a store", async () => {
      const [missing, public_] = [
        await ills({ schema: "missing" }),
        await ills({ schema: "public" }),
      ];
      assert.deepEqual(missing, [
        'fail versions: Schema "missing" does not exist',
      ]);
      assert.deepEqual(public_, [
        'fail versions: Schema "public" has no tables of a store',
      ]);
    });

    it("knows what a role may do", async () => {
      const url = new URL(server.url);
      url.username = "nurse";
      url.password = "of-a-test";
      await sql("CREATE ROLE nurse LOGIN PASSWORD 'of-a-test'");
      const seen = async () => {
        const { diagnoses } = await doctor({ url: url.href });
        return diagnoses.filter(({ check }) => check === "rights").map(shown);
      };
      assert.match((await seen())[0]!, /^fail rights: .*may not use schema/);
      await sql(`GRANT USAGE ON SCHEMA ${schema} TO nurse`);
      assert.match((await seen())[0]!, /^fail rights: .*may not read es/);
      await sql(`GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO nurse`);
      assert.deepEqual(await ills({ url: url.href }), []);
      assert.match((await seen())[0]!, /^ok rights: .*a reader's/);
      await sql(
        `GRANT INSERT, UPDATE, DELETE ON ${schema}.es TO nurse`,
      );
      assert.match((await seen())[0]!, /^fail rights: .*writes some tables/);
      await sql("ALTER ROLE nurse CONNECTION LIMIT 3");
      assert.match(
        (await ills({ url: url.href }))[0]!,
        /^fail connections: .*role "nurse" allows 3/,
      );
      await sql("DROP OWNED BY nurse; DROP ROLE nurse");
    });
  });

  describe("without a server", () => {
    it("finds an unknown parameter of the address", async () => {
      const found = await ills({ url: `${server.url}?pool_timeout=3` });
      assert.match(found.join("\n"), /^fail address: .*pool_timeout/);
    });
  });

  describe("as a command", () => {
    it("prints at most 80 columns, and ends with 1 if it found anything", async () => {
      const well = await command([]);
      assert.equal(well.code, 0, well.printed);
      assert.match(well.printed, /^ok +address/m);
      assert.match(well.printed, /^0 failures, 0 warnings$/m);
      const ill = await command(["--max-connections", "99"]);
      assert.equal(ill.code, 1, ill.printed);
      assert.match(ill.printed, /^FAIL +connections/m);
      const widest = Math.max(
        ...ill.printed.split("\n").map((line) => line.length),
      );
      assert.ok(widest <= 80, ill.printed);
    });

    it("prints JSON, and the fault of an address", async () => {
      const { code, printed } = await command(["--json"], {
        url: `${server.url}?secret=HUNTER2`,
      });
      assert.equal(code, 1, printed);
      const { failures, diagnoses } = JSON.parse(printed);
      assert.equal(failures, 1);
      assert.equal(diagnoses[0].check, "address");
      assert.ok(!printed.includes("HUNTER2"));
    });

    // Only Deno asks for permissions.
    const skip = !("Deno" in globalThis);
    it("names the missing permission", { skip }, async () => {
      const { code, printed } = await command([], {
        permissions: ["--allow-env", "--allow-read", "--no-prompt"],
      });
      assert.equal(code, 1, printed);
      assert.match(printed, /^FAIL +permissions +Deno may not connect/m);
    });
  });

  it("finds transactions that grow too old", async () => {
    // A forgotten transaction, because of which nothing can be frozen.
    await hold(
      "BEGIN ISOLATION LEVEL REPEATABLE READ",
      "CREATE TEMP TABLE kept ()",
    );
    await sql(`CREATE TEMP TABLE burnt ();
      DO $$ BEGIN FOR i IN 1..130000 LOOP
        BEGIN INSERT INTO burnt DEFAULT VALUES; EXCEPTION WHEN OTHERS THEN END;
      END LOOP; END $$`);
    const found = await ills();
    await letGo();
    assert.match(found.join("\n"), /^warn wraparound: .*transactions up to 13/);
  });
});

/** Runs the command, with the server's address. */
async function command(
  args: string[],
  { url = server.url, permissions = ["-A"] } = {},
): Promise<{ code: number | null; printed: string }> {
  const { code, stdout, stderr } = await runCommand(
    ["doctor", ...args],
    { url, permissions },
  ).ended;
  return { code, printed: stdout + stderr };
}
