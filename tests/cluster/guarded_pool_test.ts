/** A pool whose flushes pass a guard: what is refused goes where the schema is. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { movedReason, refusedEra } from "../../src/database/cluster/guard.ts";
import { Pool, type PoolUse } from "../../src/database/pool.ts";
import { PoolTimeoutError } from "../../src/database/pool_errors.ts";
import { rejectSql } from "../../src/database/rejection.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { testSession, testTable } from "../support/sessions.ts";

const refuse = statement({
  text: `SELECT ${rejectSql(movedReason, { era: "$1" })}`,
  params: ["int8"],
  columns: ["int4?"],
});
const pass = statement({ text: "SELECT 1", columns: ["int4"] });
const processId = bind(
  statement({ text: "SELECT pg_backend_pid()", columns: ["int4"] }),
);

/** Refuses so many flushes, as one whose schema was moved away. */
function movedPool(refusals: number) {
  const uses: PoolUse[] = [];
  let moves = 0;
  const pool: Pool = new Pool({
    connect: () => testSession(),
    max: 2,
    depth: 1,
    maxWaiting: 100,
    acquireTimeoutMs: 10_000,
    reconnect: { minDelayMs: 5, maxDelayMs: 50 },
    guard: {
      before: (use) => {
        uses.push(use);
        return uses.length > refusals
          ? [bind(pass), bind(pass)]
          : [bind(refuse, BigInt(moves))];
      },
      isMoved: (error) => {
        const isMoved = refusedEra(error) !== undefined;
        if (isMoved) {
          moves++;
          pool.leaveServer();
        }
        return Promise.resolve(isMoved);
      },
    },
  });
  return {
    pool,
    uses,
    [Symbol.asyncDispose]: () => pool.close(1000),
  };
}

describe("A guarded pool", () => {
  it("does nothing of a refused flush, and sends it again elsewhere", async () => {
    await using table = await testTable("n int");
    await using moved = movedPool(2);
    const insert = bind(
      statement({ text: `INSERT INTO ${table.name} VALUES (1)` }),
    );
    const [{ count }, { rows: [row] }] = await moved.pool.run(
      [insert, processId],
      "write",
    );
    assert.equal(count, 1, "the results are those of the statements alone");
    assert.deepEqual(moved.uses, ["write", "write", "write"]);
    await using session = await testSession();
    const counted = await session.script(`SELECT count(*) FROM ${table.name}`);
    assert.deepEqual(counted, [["1"]]);
    // Sessions from before the move got no more work, and have ended.
    const [{ rows: [next] }] = await moved.pool.run([processId], "write");
    assert.equal(next![0], row![0]);
    assert.equal(moved.pool.state.open, 1);
  });

  it("leaves it to others to put a flush of many streams together", async () => {
    await using moved = movedPool(1);
    await assert.rejects(
      moved.pool.run([processId], "shared"),
      (error) => refusedEra(error) === 0,
    );
    await moved.pool.run([processId], "shared");
    assert.deepEqual(moved.uses, ["shared", "shared"]);
  });

  it("stops at the deadline, wherever the schema is", async () => {
    await using moved = movedPool(Infinity);
    const deadline = performance.now() + 50;
    await assert.rejects(
      moved.pool.run([processId], "read", undefined, deadline),
      PoolTimeoutError,
    );
  });

  it("tells other errors as they are", async () => {
    await using moved = movedPool(0);
    const fails = bind(statement({ text: "SELECT 1 / 0", columns: ["int4"] }));
    await assert.rejects(moved.pool.run([fails], "write"), {
      sqlState: "22012",
    });
    assert.equal(moved.uses.length, 1);
  });
});
