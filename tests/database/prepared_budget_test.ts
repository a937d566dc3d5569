/**
 * The prepared statements of several sessions on a real server share one budget
 * of memory.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PreparedBudget } from "../../src/database/prepared_budget.ts";
import { PreparedStatements } from "../../src/database/prepared_statements.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { baseType } from "../../src/database/wire/types.ts";
import { openSession } from "../support/migration_connection.ts";
import { budgetOf, testSession } from "../support/sessions.ts";
import { statements } from "../support/statements.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const nth = (n: number) =>
  bind(statement({ text: `SELECT ${n}`, columns: ["int4"] }));

describe("A budget of prepared statements", () => {
  it("closes an idle session's statements if another session needs the room", async () => {
    const budget = budgetOf(4);
    await using idle = await testSession({ budget });
    await using busy = await testSession({ budget });
    await idle.run([0, 1, 2, 3].map(nth));
    const { receivedAt } = idle;
    for (let i = 0; i < 2; i++) await busy.run([4, 5, 6].map(nth));
    // The idle session has no work: it gets an answer because it closes them.
    await until(() => idle.receivedAt > receivedAt && idle.inFlight === 0);
    assert.equal(idle.preparedOf([0, 1, 2, 3].map(nth)), 0);
    const left = await idle.script("SELECT name FROM pg_prepared_statements");
    assert.deepEqual(left, []);
    assert.equal(busy.preparedOf([4, 5, 6].map(nth)), 3);
  });

  it("keeps statements that are used often, whatever is used once", async () => {
    await using session = await testSession({ budget: budgetOf(4) });
    for (let n = 0; n < 50; n++) {
      await session.run([nth(0), nth(1), nth(100 + n)]);
    }
    assert.equal(session.preparedOf([nth(0), nth(1)]), 2);
    const [row] = await session.script(
      "SELECT max(substr(name, 2)::int) FROM pg_prepared_statements",
    );
    // Once the room was full, statements that were used once were not prepared.
    assert.ok(Number(row![0]) <= 4, row![0]!);
  });

  it("regains the room of a session that closes", async () => {
    const budget = new PreparedBudget();
    const session = await testSession({ budget });
    await session.run([0, 1, 2].map(nth));
    assert.ok(budget.bytes > 0);
    await session.close();
    assert.equal(budget.bytes, 0);
  });

  it("estimates about the memory that the server needs for a statement", async () => {
    await using test = await openTestStorage({ partitions: 1 });
    await using session = await openSession(test.url);
    await session.script(
      "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off",
    );
    const bytesNow = async () => {
      const [row] = await session.script(
        `SELECT sum(total_bytes) FROM pg_backend_memory_contexts
         WHERE name LIKE 'CachedPlan%'`,
      );
      return Number(row![0]);
    };
    let estimated = 0;
    let taken = 0;
    for (const [name, { text, params, once }] of statements(test.schema)) {
      if (once) continue;
      const types = params.map(baseType);
      const list = types.length ? `(${types.join(", ")})` : "";
      const nulls = types.length ? `(${types.map(() => "NULL")})` : "";
      const before = await bytesNow();
      await session.script(`PREPARE one ${list} AS ${text}`);
      await session.script(`EXPLAIN EXECUTE one ${nulls}`);
      const bytes = await bytesNow() - before;
      await session.script("DEALLOCATE one");
      const budget = new PreparedBudget();
      new PreparedStatements(budget).add(text);
      const ratio = bytes / budget.bytes;
      assert.ok(ratio > 0.3 && ratio < 2, `${name}: ${ratio}`);
      estimated += budget.bytes;
      taken += bytes;
    }
    const ratio = taken / estimated;
    assert.ok(ratio > 0.8 && ratio < 1.25, String(ratio));
  });
});
