/**
 * A session on a real server: values, pipelined runs, COPY, prepared statements
 * and notifications.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Notification } from "../../src/database/session.ts";
import {
  bind,
  type Bound,
  copyIn,
  type Statement,
  statement,
} from "../../src/database/statement.ts";
import type { PgType } from "../../src/database/wire/types.ts";
import { budgetOf, testSession, testTable } from "../support/sessions.ts";
import { checkUnread } from "../support/login/unread.ts";
import { patterned } from "../support/patterned.ts";

/** The statement that returns its parameter. */
function echo<const T extends PgType>(
  type: T,
  sql: string,
): Statement<[T], [T]> {
  return statement({
    text: `SELECT $1::${sql}`,
    params: [type],
    columns: [type],
  });
}

const one = statement({ text: "SELECT 1", columns: ["int4"] });
const divide = statement({
  text: "SELECT 1 / $1::int4",
  params: ["int4"],
  columns: ["int4"],
});

describe("A session's values", () => {
  const samples: [PgType, string, unknown[]][] = [
    ["bool", "bool", [true, false, null]],
    ["int2", "int2", [-32768, -1, 0, 32767, null]],
    ["int4", "int4", [-(2 ** 31), -1, 0, 2 ** 31 - 1, null]],
    ["int8", "int8", [-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n, null]],
    ["float8", "float8", [0, -0, 1.5, 5e-324, Infinity, NaN, null]],
    ["text", "text", ["", "é 漢 🙂", "' \\ \n", "x".repeat(100_000), null]],
    ["varchar", "varchar(9)", ["", "nine char", null]],
    ["bpchar", "char(3)", ["abc", "~~~", null]],
    ["bytea", "bytea", [patterned(0), patterned(256), null]],
    ["xid8", "xid8", [0n, 3n, 2n ** 32n, 2n ** 63n - 1n, null]],
    ["timestamp", "timestamp", [-1n, 0n, 848_707_200_000_001n, null]],
    ["tid", "tid", [
      0,
      1,
      0xffff,
      0x10000,
      2 ** 47 + 0x8001,
      2 ** 48 - 1,
      null,
    ]],
    ["int8[]", "int8[]", [[], [-(2n ** 63n), 0n, 2n ** 63n - 1n]]],
  ];
  for (const [type, sql, values] of samples) {
    it(`of type ${sql} return as they were sent`, async () => {
      await using session = await testSession();
      const query = echo(`${type}?` as PgType, sql);
      for (const value of values) {
        const [{ rows, count }] = await session.run([
          bind(query, value as never),
        ]);
        assert.deepEqual(rows, [[value]]);
        assert.equal(count, 1);
      }
    });
  }

  it("in arrays of ids and bytes arrive item by item", async () => {
    await using session = await testSession();
    const ids = statement({
      text: "SELECT * FROM unnest($1::char(4)[])",
      params: ["bpchar[]"],
      columns: ["bpchar"],
    });
    const bytes = statement({
      text: "SELECT * FROM unnest($1::bytea[])",
      params: ["bytea[]"],
      columns: ["bytea?"],
    });
    const blobs = [patterned(20_000), null, patterned(0), patterned(3)];
    const [first, second, third] = await session.run([
      bind(ids, ["abcd", "wxyz"]),
      bind(bytes, blobs),
      bind(ids, []),
    ]);
    assert.deepEqual(first.rows, [["abcd"], ["wxyz"]]);
    assert.deepEqual(second.rows, blobs.map((blob) => [blob]));
    assert.deepEqual(third.rows, []);
    const numbers = statement({
      text: "SELECT * FROM unnest($1::xid8[])",
      params: ["xid8[]"],
      columns: ["xid8"],
    });
    const [{ rows }] = await session.run([bind(numbers, [1n, 2n ** 40n])]);
    assert.deepEqual(rows, [[1n], [2n ** 40n]]);
    const places = statement({
      text: "SELECT * FROM unnest($1::tid[])",
      params: ["tid[]"],
      columns: ["tid"],
    });
    const [{ rows: found }] = await session.run([bind(places, [7, 2 ** 40])]);
    assert.deepEqual(found, [[7], [2 ** 40]]);
  });

  it("of bytes return as they were sent, in any size", async () => {
    await using session = await testSession();
    const query = echo("bytea", "bytea");
    const mega = 1024 * 1024;
    for (const size of [0, 1, 4096, 8191, 8192, 65_536, mega, 5 * mega]) {
      const sent = patterned(size);
      const [{ rows: [row] }] = await session.run([bind(query, sent)]);
      assert.equal(row![0].constructor, Uint8Array);
      assert.deepEqual(row![0], sent);
    }
  });

  it("return as they were sent in many random rows", async () => {
    await using session = await testSession();
    const query = statement({
      text: "SELECT $1::int8, $2::text, $3::bytea, $4::bool",
      params: ["int8", "text?", "bytea?", "bool?"],
      columns: ["int8", "text?", "bytea?", "bool?"],
    });
    const row = fc.tuple(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      // The server refuses a zero character in a text.
      fc.option(
        fc.string({ unit: "grapheme" }).map((s) => s.replaceAll("\0", "")),
      ),
      fc.option(fc.uint8Array({ maxLength: 20_000 })),
      fc.option(fc.boolean()),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), async (rows) => {
        const results = await session.run(
          rows.map((values) => bind(query, ...values)),
        );
        assert.deepEqual(results.map((result) => result.rows[0]), rows);
      }),
      { numRuns: 30 },
    );
  });
});

describe("A session", () => {
  it("answers pipelined runs in order", async () => {
    await using session = await testSession();
    const query = echo("int4", "int4");
    const settled: number[] = [];
    const runs = Array.from({ length: 100 }, async (_, n) => {
      const [{ rows }] = await session.run([bind(query, n)]);
      settled.push(rows[0]![0]);
    });
    assert.equal(session.inFlight, 100);
    await Promise.all(runs);
    assert.deepEqual(settled, Array.from({ length: 100 }, (_, n) => n));
    assert.equal(session.inFlight, 0);
  });

  it("sends a statement without its indentation, but keeps quoted text", () => {
    const { text } = statement({
      text: `SELECT '  it''s\n  me'
        FROM "a  ""b""\n  c".d`,
    });
    assert.equal(text, `SELECT '  it''s\n  me' FROM "a  ""b""\n  c".d`);
  });

  it("sends values as they were given, even while the network is slow", async () => {
    await using session = await testSession();
    await using holder = await testSession();
    await checkUnread(session, holder);
  });

  it("answers an empty run", async () => {
    await using session = await testSession();
    assert.deepEqual(await session.run([]), []);
  });

  it("rolls back the run of an error, skips its rest, and runs the others", async () => {
    await using table = await testTable("id int4 PRIMARY KEY");
    await using session = await testSession();
    const insert = statement({
      text: `INSERT INTO ${table.name} VALUES ($1)`,
      params: ["int4"],
    });
    const [before, failed, after] = await Promise.allSettled([
      session.run([bind(insert, 1)]),
      session.run([bind(insert, 2), bind(divide, 0), bind(insert, 3)]),
      session.run([bind(insert, 4), bind(one)]),
    ]);
    assert.equal(before.status, "fulfilled");
    assert.ok(failed.status === "rejected");
    const error = failed.reason;
    assert.ok(error instanceof PgError);
    assert.equal(error.sqlState, "22012");
    assert.equal(error.statementIndex, 1);
    assert.ok(after.status === "fulfilled");
    assert.deepEqual(after.value.map(({ count }) => count), [1, 1]);
    const ids = await session.script(`SELECT id FROM ${table.name} ORDER BY 1`);
    assert.deepEqual(ids, [["1"], ["4"]]);
  });

  it("fails only the run of a statement that can't be parsed", async () => {
    await using session = await testSession();
    const nonsense = statement({ text: "SELECT nothing FROM nowhere" });
    for (const once of [true, false]) {
      const [failed, after] = await Promise.allSettled([
        session.run([bind(one), bind({ ...nonsense, once }), bind(divide, 1)]),
        session.run([bind(divide, 1)]),
      ]);
      assert.ok(failed.status === "rejected");
      assert.equal((failed.reason as PgError).sqlState, "42P01");
      // The run may rely on a statement that the failed run did not parse.
      if (after.status === "rejected") {
        assert.ok((after.reason as PgError).isStalePlan);
      }
      assert.equal((await session.run([bind(divide, 1)])).length, 1);
    }
  });

  it("breaks, but not the process, if a value can't be written", async () => {
    await using session = await testSession();
    const query = echo("int8", "int8");
    await assert.rejects(session.run([bind(query, 2n ** 63n)]), RangeError);
    assert.equal(session.usable, false);
    await assert.rejects(session.run([bind(one)]), ConnectionLostError);
  });

  it("returns the text of a script, and survives one that fails", async () => {
    await using session = await testSession();
    const [rows, failed, run] = await Promise.allSettled([
      session.script("SELECT 1, NULL, 'x'; SELECT true WHERE false"),
      session.script("SELECT 2; SELECT 1 / 0"),
      session.run([bind(one)]),
    ]);
    assert.deepEqual(rows, { status: "fulfilled", value: [["1", null, "x"]] });
    assert.equal(failed.status, "rejected");
    assert.equal(run.status, "fulfilled");
  });

  it("has the settings that it was opened with", async () => {
    await using session = await testSession({
      settings: {
        default_transaction_isolation: "repeatable read",
        "stream.test": "a b\\c",
      },
    });
    const rows = await session.script(
      "SELECT current_setting('transaction_isolation'), current_setting('stream.test')",
    );
    assert.deepEqual(rows, [["repeatable read", "a b\\c"]]);
  });
});

describe("A session's COPY", () => {
  const types = ["int4", "bytea?"] as const;
  const copyTo = (table: string) =>
    statement({ text: `COPY ${table} FROM STDIN (FORMAT binary)` });
  const countOf = async (table: string) => {
    await using session = await testSession();
    return Number(
      (await session.script(`SELECT count(*) FROM ${table}`))[0]![0],
    );
  };

  it("takes many rows, several times in one run", async () => {
    await using table = await testTable("id int4 PRIMARY KEY, data bytea");
    await using session = await testSession();
    const copy = copyTo(table.name);
    const rows = Array.from(
      { length: 2000 },
      (
        _,
        id,
      ): [number, Uint8Array | null] => [id, id % 3 ? patterned(id) : null],
    );
    const [first, , second] = await session.run([
      copyIn(copy, types, rows.slice(0, 1500)),
      bind(one),
      copyIn(copy, types, rows.slice(1500)),
    ]);
    assert.deepEqual([first.count, second.count], [1500, 500]);
    const select = statement({
      text: `SELECT id, data FROM ${table.name} ORDER BY id`,
      columns: ["int4", "bytea?"],
    });
    assert.deepEqual((await session.run([bind(select)]))[0].rows, rows);
  });

  it("may have no rows at all", async () => {
    await using table = await testTable("id int4, data bytea");
    await using session = await testSession();
    const [{ count }] = await session.run([
      copyIn(copyTo(table.name), types, []),
    ]);
    assert.equal(count, 0);
  });

  it("is rolled back if it fails midway, and the session goes on", async () => {
    await using table = await testTable("id int4 PRIMARY KEY, data bytea");
    await using session = await testSession();
    const copy = copyTo(table.name);
    const rows = Array.from(
      { length: 500 },
      (_, id): [number, Uint8Array] => [id % 400, patterned(1000)],
    );
    const [failed, after] = await Promise.allSettled([
      session.run([bind(one), copyIn(copy, types, rows), bind(one)]),
      session.run([copyIn(copy, types, rows.slice(0, 400)), bind(one)]),
    ]);
    assert.ok(failed.status === "rejected");
    assert.equal((failed.reason as PgError).sqlState, "23505");
    assert.equal((failed.reason as PgError).statementIndex, 1);
    assert.equal(after.status, "fulfilled");
    assert.equal(await countOf(table.name), 400);
  });

  it("is skipped with all its rows after a failed statement", async () => {
    await using table = await testTable("id int4 PRIMARY KEY, data bytea");
    await using session = await testSession();
    const rows: [number, Uint8Array][] = [[1, patterned(100_000)]];
    const copy = copyIn(copyTo(table.name), types, rows);
    const [failed, after] = await Promise.allSettled([
      session.run([bind(divide, 0), copy, bind(one)]),
      session.run([bind(one)]),
    ]);
    assert.ok(failed.status === "rejected");
    assert.equal((failed.reason as PgError).statementIndex, 0);
    assert.equal(after.status, "fulfilled");
    assert.equal(await countOf(table.name), 0);
  });
});

describe("A session's prepared statements", () => {
  const nth = (n: number) =>
    statement({ text: `SELECT ${n}`, columns: ["int4"] });
  const listPrepared = statement({
    text: "SELECT statement FROM pg_prepared_statements ORDER BY 1",
    columns: ["text"],
    once: true,
  });

  async function preparedAfter(
    options: Parameters<typeof testSession>[0],
    runs: Bound[][],
  ): Promise<string[]> {
    await using session = await testSession(options);
    for (const run of runs) await session.run(run);
    const [{ rows }] = await session.run([bind(listPrepared)]);
    return rows.map(([text]) => text);
  }

  it("are bounded: one that is used again replaces those used least", async () => {
    const used = [0, 1, 2, 0, 3, 3, 4];
    const prepared = await preparedAfter(
      { budget: budgetOf(3) },
      used.map((n) => [bind(nth(n))]),
    );
    // More are closed than necessary, so that not each new one closes another.
    assert.deepEqual(prepared, ["SELECT 0", "SELECT 3", "SELECT 4"]);
  });

  it("are kept, however often they are used", async () => {
    const runs = Array.from({ length: 50 }, (_, n) => [bind(nth(n % 4))]);
    const prepared = await preparedAfter({ budget: budgetOf(4) }, runs);
    assert.equal(prepared.length, 4);
  });

  it("are parsed once if they occur twice in a run", async () => {
    const prepared = await preparedAfter({}, [[bind(one), bind(one)]]);
    assert.deepEqual(prepared, ["SELECT 1"]);
  });

  it("do not exist if the session or the statement forbids them", async () => {
    const { once: _, ...rare } = { ...nth(7) };
    const runs = [[bind(one)], [bind(one), bind(nth(2))]];
    assert.deepEqual(
      await preparedAfter({ preparedStatements: false }, runs),
      [],
    );
    const once = [[bind({ ...rare, once: true })]];
    assert.deepEqual(await preparedAfter({}, once), []);
  });

  it("are renewed if their plan is out of date", async () => {
    await using table = await testTable("value varchar(5)");
    await using session = await testSession();
    const select = statement({
      text: `SELECT value FROM ${table.name}`,
      columns: ["text"],
    });
    await session.run([bind(select), bind(one)]);
    await session.script(`ALTER TABLE ${table.name} ALTER value TYPE text`);
    const stale = await session.run([bind(one), bind(select)]).catch((e) => e);
    assert.ok(stale instanceof PgError && stale.isStalePlan);
    assert.equal((await session.run([bind(one), bind(select)])).length, 2);
  });

  it("are renewed if the server has lost them", async () => {
    await using session = await testSession();
    await session.run([bind(one)]);
    await session.script("DEALLOCATE ALL");
    const gone = await session.run([bind(one)]).catch((error) => error);
    assert.ok(gone instanceof PgError && gone.isStalePlan);
    assert.deepEqual((await session.run([bind(one)]))[0].rows, [[1]]);
  });
});

describe("A session's notifications", () => {
  it("arrive with channel, payload and sender, whether it is idle or not", async () => {
    await using listener = await testSession();
    await using sender = await testSession();
    const received: Notification[] = [];
    const { promise: all, resolve } = Promise.withResolvers<void>();
    listener.onNotification((notification) => {
      if (received.push(notification) === 2) resolve();
    });
    const channel = `test_${sender.processId}`;
    await listener.script(`LISTEN ${channel}`);
    const sleep = listener.script("SELECT pg_sleep(0.1)");
    await sender.script(`NOTIFY ${channel}, 'é'`);
    await sleep;
    await sender.script(`NOTIFY ${channel}`);
    await all;
    const { processId } = sender;
    assert.deepEqual(received, [
      { channel, payload: "é", processId },
      { channel, payload: "", processId },
    ]);
  });
});
