/**
 * The form of migrations on a Citus cluster, with a scripted server instead of
 * a cluster. The rules are in src/database/migrations/cluster.ts;
 * tests/cluster/migrations_test.ts runs the migrations on a real one.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { forDistributed } from "../../src/database/migrations/cluster.ts";
import type { MigrationConnection } from "../../src/database/migrations/connection.ts";
import { migrate, migrateDown } from "../../src/database/migrations/mod.ts";
import {
  currentVersions,
  firstVersion,
  partitionSuffixes,
} from "../../src/database/migrations/numbers.ts";
import {
  planDown,
  planPreparation,
  planUp,
} from "../../src/database/migrations/plan.ts";
import { splitStatements } from "../../src/database/migrations/sql_text.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";

/** A name that does harm wherever it is not quoted. */
const schema = `its; "name" 'is' %s $$ -- odd`;
const suffixes = partitionSuffixes(1);

/** All transactions that may run on a schema once it is distributed. */
function transactions(): string[] {
  const first = { node: firstVersion, own: 0 };
  const nothing = { node: 0, own: 0 };
  const present = { used: suffixes, present: suffixes };
  const steps = [
    ...planUp(schema, { from: first, to: currentVersions }, 1),
    ...planDown(schema, { from: currentVersions, to: nothing }, present),
  ];
  return [
    planPreparation(schema, 1),
    ...steps.flatMap((step) => step.transactions),
  ];
}

/** The statement without quoted and bracketed parts. */
function bare(statement: string): string {
  let text = statement.replaceAll(
    /"(?:[^"]|"")*"|'(?:[^']|'')*'|\$\$[^]*?\$\$/g,
    "x",
  );
  for (let before = ""; before !== text;) {
    before = text;
    text = text.replaceAll(/\([^()]*\)/g, "");
  }
  return text;
}

describe("A migration of a distributed schema", () => {
  const all = transactions().map(forDistributed);

  it("has one change in each ALTER TABLE, and none that Citus refuses", () => {
    for (const statement of all.flatMap(({ statements }) => statements)) {
      const text = bare(statement);
      assert.doesNotMatch(text, /;/);
      assert.doesNotMatch(text, /SET STORAGE|SET STATISTICS|^DO\b/);
      if (text.startsWith("ALTER TABLE")) assert.doesNotMatch(text, /,/);
    }
  });

  it("sends statements that Citus refuses to each server and to the shard", () => {
    const after = all.flatMap(({ after }) => after);
    // Only the snapshots of blocks and of candidates need such statements.
    assert.equal(after.length, 2 * 2 * suffixes.length);
    const [everywhere, shard] = after;
    assert.equal(
      everywhere,
      "SELECT success, result FROM pg_catalog.run_command_on_all_nodes(" +
        `'SET LOCAL citus.enable_ddl_propagation = off; ALTER TABLE ` +
        `"its; ""name"" ''is'' %s $$ -- odd".miniblocks_r00\n  ` +
        `ALTER COLUMN snapshot SET STORAGE EXTERNAL')`,
    );
    assert.equal(
      shard,
      "SELECT success, result FROM pg_catalog.run_command_on_placements(" +
        `'"its; ""name"" ''is'' %s $$ -- odd".miniblocks_r00'::regclass, ` +
        `'ALTER TABLE %s\n  ALTER COLUMN snapshot SET STORAGE EXTERNAL')`,
    );
  });
});

describe("splitStatements", () => {
  it("leaves quoted text as it is", () => {
    const sql = `-- A comment; it goes.
SELECT ';', 'it''s;', ";" FROM x; -- and this
CREATE FUNCTION f() RETURNS int AS $$ SELECT 1; -- stays
$$; CREATE FUNCTION g() AS $a$ $$; $a$;
`;
    assert.deepEqual(splitStatements(sql), [
      `SELECT ';', 'it''s;', ";" FROM x`,
      "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1; -- stays\n$$",
      "CREATE FUNCTION g() AS $a$ $$; $a$",
    ]);
  });
});

/** The rows that a server answers to a statement of this kind. */
type Answer = readonly [asked: RegExp, rows: (string | null)[][]];

/** A server that answers from a list, and keeps the statements. */
class ScriptedServer implements MigrationConnection {
  readonly sent: string[] = [];
  readonly #answers: readonly Answer[];

  constructor(answers: readonly Answer[]) {
    this.#answers = answers;
  }

  script(sql: string): Promise<(string | null)[][]> {
    this.sent.push(sql);
    const [, rows = []] =
      this.#answers.find(([pattern]) => pattern.test(sql)) ?? [];
    return Promise.resolve(rows);
  }

  /** The messages between taking the lock and releasing it. */
  get changes(): string[] {
    return this.sent.filter((sql) => !/advisory|REPEATABLE READ/.test(sql));
  }
}

const lock: Answer = [/pg_try_advisory_lock/, [["t"]]];
const cluster = (...row: ("t" | "f")[]): Answer => [
  /pg_dist_local_group/,
  [row],
];
/** A schema at a version, with tables of one partition. */
const at = (hasCitus: "t" | "f", version: number, own: number): Answer[] => [
  [/num_partitions/, [[String(version), "f", String(own), "1"]]],
  [/BEGIN ISOLATION LEVEL REPEATABLE READ/, [[
    hasCitus,
    "t",
    JSON.stringify([
      "schema_migrations",
      "stream_storage_migrations",
      "settings",
      ...suffixes.map((suffix) => `miniblocks_${suffix}`),
    ]),
    "t",
  ]]],
];
const missing = (hasCitus: "t" | "f"): Answer[] => [
  [/BEGIN ISOLATION LEVEL REPEATABLE READ/, [[hasCitus, "f", null, null]]],
  [/^SELECT NULL,\n/, [[null, null, null, null]]],
];

describe("migrate", () => {
  const options = { schema: "s", partitions: 1 };

  it("sends no statement of Citus to a plain server", async () => {
    const server = new ScriptedServer([lock, ...missing("f")]);
    await migrate(server, options);
    const others = server.changes.filter((sql) => /citus|dist/.test(sql));
    assert.deepEqual(others, []);
  });

  it("distributes a schema on a coordinator in its last transaction", async () => {
    const state = cluster("t", "f", "t", "t");
    const server = new ScriptedServer([lock, state, ...missing("t")]);
    await migrate(server, options);
    const changes = server.changes.filter((sql) => sql.startsWith("BEGIN"));
    for (const sql of changes) {
      assert.match(sql, /SET LOCAL citus.enable_schema_based_sharding = off/);
    }
    const last = changes.at(-1)!;
    assert.match(
      last,
      /VALUES \(9\);\nSELECT pg_catalog.citus_schema_distribute/,
    );
    assert.match(last, /SET LOCAL citus.enable_unsafe_triggers = on/);
    assert.equal(changes.filter((sql) => /_distribute/.test(sql)).length, 1);
  });

  it("leaves a schema on a coordinator that is not set to distribute it", async () => {
    const state = cluster("t", "f", "f", "f");
    const server = new ScriptedServer([lock, state, ...missing("t")]);
    await migrate(server, options);
    assert.equal(
      server.sent.filter((sql) => /_distribute/.test(sql)).length,
      0,
    );
  });

  it("refuses to distribute a schema if no server may hold it", async () => {
    const state = cluster("t", "f", "t", "f");
    const server = new ScriptedServer([lock, state, ...missing("t")]);
    await assert.rejects(
      migrate(server, options),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "cluster_has_no_workers",
    );
    assert.deepEqual(server.sent.filter((sql) => /READ WRITE/.test(sql)), []);
  });

  it("sends one statement in each message for a distributed schema", async () => {
    const state = cluster("t", "t", "t", "t");
    const server = new ScriptedServer([lock, state, ...at("t", 8, 0)]);
    await migrate(server, options);
    assert.equal(
      server.sent.filter((sql) => /_distribute/.test(sql)).length,
      0,
    );
    const altering = server.sent.filter((sql) => /ALTER TABLE/.test(sql));
    assert.ok(altering.length > 5);
    for (const sql of altering) assert.doesNotMatch(sql, /;/);
    const opened = server.sent.filter((sql) => /^BEGIN.*READ WRITE/.test(sql));
    const closed = server.sent.filter((sql) => sql === "COMMIT");
    assert.equal(opened.length, closed.length);
  });

  it("refuses to run on a worker node", async () => {
    const state = cluster("f", "t", "t", "t");
    const refused = (error: unknown) =>
      isStreamStorageError(error, "BAD_CONFIG") &&
      error.details.reason === "cluster_needs_coordinator";
    const server = new ScriptedServer([lock, state, ...at("t", 8, 0)]);
    await assert.rejects(migrate(server, options), refused);
    await assert.rejects(migrateDown(server, { schema: "s", to: 7 }), refused);
    assert.deepEqual(server.sent.filter((sql) => /READ WRITE/.test(sql)), []);
  });

  it("fails with the message of a server that refused a statement", async () => {
    const server = new ScriptedServer([
      lock,
      cluster("t", "t", "t", "t"),
      [/run_command_on_all_nodes/, [["t", "ALTER TABLE"], ["f", "no such"]]],
      ...at("t", 7, 0),
    ]);
    await assert.rejects(
      migrate(server, options),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.reason === "cluster_server_refused" &&
        error.message.includes("no such"),
    );
  });
});
