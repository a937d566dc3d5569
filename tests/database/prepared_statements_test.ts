/**
 * A real server keeps prepared the statements that the session knows of, and no
 * others: the session closes the statements that it forgets.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { budgetOf, testSession, testTable } from "../support/sessions.ts";

const nth = (n: number) =>
  statement({ text: `SELECT ${n}`, columns: ["int4"] });
const nonsense = (n = 0) =>
  statement({ text: `SELECT nothing FROM nowhere_${n}` });

/** The texts of the statements that the server has prepared. */
async function prepared(session: Session): Promise<string[]> {
  const rows = await session.script(
    "SELECT statement FROM pg_prepared_statements ORDER BY 1",
  );
  return rows.map(([text]) => text!);
}

async function refused(answer: Promise<unknown>): Promise<PgError> {
  const error = await answer.catch((error) => error);
  assert.ok(error instanceof PgError, String(error));
  return error;
}

describe("The prepared statements of a server", () => {
  it("include those that were parsed before one that can't be", async () => {
    await using session = await testSession();
    const known = [0, 1, 2].map(nth);
    await session.run(known.map((each) => bind(each)));
    for (let n = 0; n < 50; n++) {
      const [before, after] = [nth(100 + n), nth(200 + n)];
      const run = [bind(before), bind(nonsense(n)), bind(after)];
      assert.equal((await refused(session.run(run))).sqlState, "42P01");
      await session.run(known.map((each) => bind(each)));
    }
    const texts = await prepared(session);
    // The statements before the nonsense were parsed, those after it were not.
    assert.equal(texts.length, 3 + 50);
    assert.equal(new Set(texts).size, texts.length);
    await session.run([bind(nth(149)), bind(nth(249))]);
    assert.equal((await prepared(session)).length, 3 + 50 + 1);
  });

  it("are closed if all have to be parsed again", async () => {
    await using table = await testTable("value varchar(5)");
    await using session = await testSession();
    const select = statement({
      text: `SELECT value FROM ${table.name}`,
      columns: ["text"],
    });
    const all = [bind(select), ...[0, 1, 2].map((n) => bind(nth(n)))];
    for (let length = 6; length < 16; length++) {
      await session.run(all);
      await session.script(
        `ALTER TABLE ${table.name} ALTER value TYPE varchar(${length})`,
      );
      assert.ok((await refused(session.run(all))).isStalePlan);
    }
    await session.run(all);
    assert.equal((await prepared(session)).length, all.length);
  });

  it("are closed if there are too many, even while others can't be parsed", async () => {
    await using session = await testSession({ budget: budgetOf(4) });
    for (let n = 0; n < 50; n++) {
      for (let i = 0; i < 2; i++) {
        await refused(session.run([bind(nth(n)), bind(nonsense(n))]));
      }
    }
    const left = await prepared(session);
    assert.ok(left.length > 0 && left.length <= 4, left.join());
    assert.ok(left.includes("SELECT 49"), left.join());
  });

  it("are closed only after the run that needs them", async () => {
    await using session = await testSession({ budget: budgetOf(2) });
    const run = [0, 1, 2, 3].map((n) => bind(nth(n)));
    for (let i = 0; i < 3; i++) {
      const results = await session.run(run);
      assert.deepEqual(results.map(({ rows }) => rows), [
        [[0]],
        [[1]],
        [[2]],
        [[3]],
      ]);
    }
    for (let i = 0; i < 2; i++) await session.run([bind(nth(4))]);
    assert.deepEqual(await prepared(session), ["SELECT 4"]);
  });

  it("stay if the run before could not parse another one", async () => {
    await using session = await testSession();
    await session.run([bind(nth(0))]);
    const first = refused(session.run([bind(nonsense())]));
    // Sent while the session took the nonsense as prepared.
    const second = refused(session.run([bind(nonsense())]));
    assert.equal((await first).sqlState, "42P01");
    assert.equal((await second).sqlState, "26000");
    await session.run([bind(nth(0)), bind(nth(1))]);
    assert.deepEqual(await prepared(session), ["SELECT 0", "SELECT 1"]);
  });

  it("include none of the rare ones, which are parsed at each run", async () => {
    await using session = await testSession();
    const rare = statement({ text: "SELECT 7", columns: ["int4"], once: true });
    for (let i = 0; i < 3; i++) {
      const results = await session.run([bind(rare), bind(nth(0)), bind(rare)]);
      assert.deepEqual(results.map(({ rows }) => rows), [[[7]], [[0]], [[7]]]);
    }
    assert.deepEqual(await prepared(session), ["SELECT 0"]);
  });

  it("are parsed again if the server has lost them", async () => {
    await using session = await testSession();
    const both = [bind(nth(0)), bind(nth(1))];
    await session.run(both);
    await session.script("DEALLOCATE ALL");
    assert.ok((await refused(session.run(both))).isStalePlan);
    await session.run(both);
    assert.deepEqual(await prepared(session), ["SELECT 0", "SELECT 1"]);
  });
});
