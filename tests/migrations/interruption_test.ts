/**
 * Migrations on a real server whose session is killed at every round trip, or
 * that lose a deadlock: the next run completes them.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import {
  migrate,
  migrateDown,
  type MigrationConnection,
} from "../../src/database/migrations/mod.ts";
import {
  nodeMigrations,
  ownMigrations,
  suffixesPerBatch,
} from "../../src/database/migrations/versions.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { openSession } from "../support/migration_connection.ts";
import {
  type MigrationFixture,
  withMigrationSchema,
} from "../support/migrations/schema.ts";
import { dumpSchema } from "../support/migrations/schema_dump.ts";

const partitions = 2;

/** Partition suffixes in a transaction: half of them, so that it takes two. */
const perTransaction = 2;

/**
 * The versions whose suffixes need several transactions, with enough
 * partitions.
 */
const cutUp = [...nodeMigrations, ...ownMigrations]
  .filter((migration) => migration.suffixesPerTransaction !== Infinity);

/** A test makes dozens of installations, and Bun's default is 5 s. */
const slow = { timeout: 120_000 };

const killSql = "SELECT pg_terminate_backend(pg_backend_pid());";

/** Whether the backend dies before it does what was asked, or afterwards. */
type Moment = "before" | "after";

/** A session whose backend dies at its nth round trip. */
class MortalConnection implements MigrationConnection {
  readonly #session: Session;
  readonly #dieAt: number;
  readonly #moment: Moment;
  #trips = 0;

  constructor(session: Session, dieAt: number, moment: Moment) {
    this.#session = session;
    this.#dieAt = dieAt;
    this.#moment = moment;
  }

  /** Whether the run took enough round trips to reach the nth. */
  get died(): boolean {
    return this.#trips > this.#dieAt;
  }

  async script(sql: string): Promise<(string | null)[][]> {
    if (this.#trips++ !== this.#dieAt) return await this.#session.script(sql);
    // A transaction has done all its work when it is killed, and is rolled
    // back.
    const doomed = sql.replace(/(COMMIT;)?$/, `;${killSql}$1`);
    if (this.#moment === "before") return await this.#session.script(doomed);
    await this.#session.script(sql);
    return await this.#session.script(killSql);
  }
}

/** The objects of a schema at each version, without any interruption. */
async function references(
  { session, schema, up }: MigrationFixture,
): Promise<Map<number, Set<string>>> {
  const dumps = new Map<number, Set<string>>();
  const keep = async (version: number) => {
    dumps.set(version, new Set(await objects(session, schema)));
  };
  await up({ partitions });
  await keep(9);
  for (const version of [8, 7, 6, 0]) {
    await migrateDown(session, { schema, to: version });
    await keep(version);
  }
  return dumps;
}

/**
 * The lines of the dump, each with its relation, that depend on the version.
 */
async function objects(session: Session, schema: string): Promise<string[]> {
  let relation = "";
  return (await dumpSchema(session, schema)).map((line) => {
    // assertOwnWhole compares the parts that belong to our own track.
    const object = line.replace(/^(relation \S+ kind .).*/, "$1")
      .replace("TG_TABLE_NAME::text", "'singlenodekey'");
    if (!line.startsWith(" ")) relation = object;
    return `${relation}: ${object}`;
  }).filter((line) =>
    !/relation (settings|\w+_migrations|stream_storage_)/.test(line) &&
    !/(INDEX|column) stream_storage_/.test(line)
  );
}

/** If a version is recorded, exactly its objects must be there. */
async function assertWhole(
  { session, schema, sql }: MigrationFixture,
  expected: Map<number, Set<string>>,
): Promise<void> {
  const recorded = await sql("SELECT to_regclass('@.schema_migrations')");
  const rows = recorded[0]![0] === null
    ? []
    : await sql("SELECT version, dirty FROM @.schema_migrations");
  assert.ok(rows.length <= 1);
  const version = Number(rows[0]?.[0] ?? 0);
  const found = await objects(session, schema);
  if (version !== 0) {
    await assertOwnWhole({ session, schema, sql });
    const whole = expected.get(version)!;
    assert.deepEqual([...whole.symmetricDifference(new Set(found))], []);
    assert.equal(rows[0]![1], "f");
    return;
  }
  const installed = expected.get(6)!;
  for (const line of found) assert.ok(installed.has(line), line);
  assert.deepEqual(await sql("SELECT to_regclass('@.es')"), [[null]]);
}

/**
 * If our versions are recorded, their changes of nodes' tables must be there.
 */
async function assertOwnWhole(
  { session, schema, sql }: Pick<
    MigrationFixture,
    "session" | "schema" | "sql"
  >,
): Promise<void> {
  const [[version]] = await sql(
    "SELECT coalesce(max(version), 0) FROM @.stream_storage_migrations",
  ) as [[string]];
  const dump = await dumpSchema(session, schema);
  const linesOf = (relations: RegExp) => {
    const lines = dump.filter((line) => relations.test(line));
    assert.ok(lines.length > 0);
    return lines;
  };
  const owners = linesOf(/^relation singlenodekey /).join();
  assert.equal(/ identity full$/.test(owners), Number(version) >= 6);
  assert.equal(
    dump.some((line) => line.includes("INDEX stream_storage_es_by_bytes")),
    Number(version) >= 7,
  );
  assert.equal(
    dump.some((line) => line.includes("column stream_storage_incarnation")),
    Number(version) >= 8,
  );
  assert.equal(
    linesOf(/^function notify_on_upsert /).join().includes("'singlenodekey'"),
    Number(version) >= 9,
  );
  if (Number(version) < 4) return;
  for (
    const line of linesOf(/^relation mini(pools|blocks|block_candidates)_[rm]/)
  ) {
    assert.match(line, /with toast_tuple_target=4080$/);
  }
}

/** Runs `run` once for each of its round trips, kills it there; counts them. */
async function killEverywhere(
  fixture: MigrationFixture,
  moment: Moment,
  run: (connection: MigrationConnection) => Promise<unknown>,
  afterwards: () => Promise<void>,
): Promise<number> {
  for (let dieAt = 0;; dieAt++) {
    const session = await openSession(fixture.url);
    const connection = new MortalConnection(session, dieAt, moment);
    const error = await run(connection).then(() => undefined, (e) => e);
    if (!connection.died) {
      assert.equal(error, undefined);
      await session.close();
      return dieAt;
    }
    if (error !== undefined) {
      assert.ok(isStreamStorageError(error, "UNAVAILABLE"), String(error));
      assert.ok(error.cause instanceof ConnectionLostError);
    }
    await session.closed;
    await afterwards();
  }
}

describe("An interrupted migration", () => {
  // A transaction of 16 suffixes would need 9 partitions, with more than four
  // times as many tables, in each of a hundred installations.
  before(() => {
    assert.equal(cutUp.length, 2);
    for (const it of cutUp) it.suffixesPerTransaction = perTransaction;
  });
  after(() => {
    for (const it of cutUp) it.suffixesPerTransaction = suffixesPerBatch;
  });

  for (const moment of ["before", "after"] as const) {
    it(
      `up, killed ${moment} each step, is completed by the next run`,
      slow,
      () =>
        withMigrationSchema(async (fixture) => {
          const { session, schema, up, sql } = fixture;
          const expected = await references(fixture);
          const steps = await killEverywhere(
            fixture,
            moment,
            (connection) => migrate(connection, { schema, partitions }),
            async () => {
              await assertWhole(fixture, expected);
              const [[settings] = []] = await sql(
                "SELECT to_regclass('@.settings')",
              );
              // Once it is stored, the number of partitions no longer changes.
              await up({ partitions: settings === null ? partitions : 3 });
              await assertWhole(fixture, expected);
              await migrateDown(session, { schema, to: 0 });
            },
          );
          assert.ok(steps > 8, `${steps} round trips`);
        }),
    );

    it(
      `down, killed ${moment} each step, is completed by the next run`,
      slow,
      () =>
        withMigrationSchema(async (fixture) => {
          const { session, schema, up, sql } = fixture;
          const expected = await references(fixture);
          await up({ partitions });
          await killEverywhere(
            fixture,
            moment,
            (connection) => migrateDown(connection, { schema, to: 0 }),
            async () => {
              await assertWhole(fixture, expected);
              await migrateDown(session, { schema, to: 0 });
              const found = await objects(session, schema);
              assert.deepEqual(found, []);
              await up({ partitions });
              assert.deepEqual(await sql("SELECT * FROM @.schema_migrations"), [
                ["9", "f"],
              ]);
            },
          );
        }),
    );
  }

  it("down leaves no rows that the next installation would adopt", () =>
    withMigrationSchema(async ({ session, schema, up, sql }) => {
      await up({ partitions });
      await sql(
        `INSERT INTO @.minipools_r01 VALUES ('${"10".repeat(32)}',1,0)`,
      );
      const abort = new AbortController();
      const options = { schema, to: 0, allowDataLoss: true };
      await assert.rejects(
        migrateDown(session, {
          ...options,
          signal: abort.signal,
          onProgress: ({ activity }) => {
            if (activity.endsWith("down from version 6")) abort.abort();
          },
        }),
        (error) => isStreamStorageError(error, "CANCELED"),
      );
      await assert.rejects(up({ partitions }), (error) => {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
        assert.equal(error.details.reason, "schema_not_empty");
        return true;
      });
      await assert.rejects(
        migrateDown(session, { schema, to: 0 }),
        (error) => isStreamStorageError(error, "FAILED_PRECONDITION"),
      );
      assert.deepEqual((await migrateDown(session, options)).appliedVersions, [
        6,
      ]);
      assert.equal((await up({ partitions })).to, 9);
    }));
});

describe("A migration that loses a deadlock", () => {
  it("is tried up to five times", () =>
    withMigrationSchema(async ({ session, schema, sql }) => {
      const deadlock = new PgError(
        new Map([["C", "40P01"], ["M", "deadlock detected"]]),
        0,
      );
      const failing = (times: number): MigrationConnection => ({
        async script(text) {
          if (text.includes("miniblocks_r00") && times-- > 0) {
            await session.script(text.replace(/COMMIT;$/, ""));
            throw deadlock;
          }
          return await session.script(text);
        },
      });
      await assert.rejects(
        migrate(failing(5), { schema, partitions: 2 }),
        (error) => isStreamStorageError(error, "UNAVAILABLE"),
      );
      assert.deepEqual(await sql("SELECT * FROM @.schema_migrations"), []);
      await migrate(failing(4), { schema, partitions: 2 });
      assert.deepEqual(await sql("SELECT * FROM @.schema_migrations"), [
        ["9", "f"],
      ]);
    }));
});
