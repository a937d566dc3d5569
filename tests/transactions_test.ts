import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toStorageError, verdictOf } from "../src/database/failures.ts";
import { ConnectionLostError, PgError } from "../src/database/pg_error.ts";
import {
  Pool,
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "../src/database/pool.ts";
import { rejectionOf, rejectSql } from "../src/database/rejection.ts";
import { bind, type Bound, statement } from "../src/database/statement.ts";
import { TransactionRing } from "../src/database/transaction_ring.ts";
import {
  RejectedError,
  Transactions,
  type TransactionsOptions,
} from "../src/database/transactions.ts";
import { StreamStorageError } from "../src/storage/errors.ts";
import { testSession, testTable } from "./support/sessions.ts";
import { until } from "./support/until.ts";

const work = [
  bind(statement({ text: "SELECT 1", columns: ["int4"] })),
] as const;
const done = [{ rows: [[1]], count: 1 }];

const pgError = (sqlState: string, message = "refused", routine = "") =>
  new PgError(new Map([["C", sqlState], ["M", message], ["R", routine]]), 0);
const lostSent = () => new ConnectionLostError("Gone", true);
const lostUnsent = () => new ConnectionLostError("Gone", false);
const rejected = () =>
  pgError("22P02", `invalid "stream-storage:{"reason":"no", "last":"7"}"`);

/** Transactions whose attempts end as listed, the last way for ever. */
function fakeTransactions(
  ends: readonly (Error | "done")[],
  options: Partial<TransactionsOptions> = {},
) {
  const calls: { mode: string; latest: number }[] = [];
  const ring = new TransactionRing();
  ring.enabled = true;
  const pool = {
    run: (
      _bound: readonly Bound[],
      mode: string,
      _signal: AbortSignal | undefined,
      latest: number,
    ) => {
      const end = ends[Math.min(calls.length, ends.length - 1)]!;
      calls.push({ mode, latest });
      return end === "done" ? Promise.resolve(done) : Promise.reject(end);
    },
  } as unknown as Pool;
  const transactions = new Transactions({
    readPool: pool,
    writePool: pool,
    retry: { attempts: 4, minDelayMs: 1, maxDelayMs: 2 },
    operationTimeoutMs: 60_000,
    ring,
    ...options,
  });
  return { transactions, calls, ring };
}

const context = { name: "test", tags: "stream" };

async function failure<E extends Error>(
  promise: Promise<unknown>,
  type: abstract new (...args: never[]) => E,
): Promise<E> {
  const error = await promise.then(
    () => assert.fail("Expected it to fail"),
    (error) => error,
  );
  assert.ok(error instanceof type, String(error));
  return error;
}

describe("A transaction is tried again", () => {
  const retried: [string, Error][] = [
    ["a serialization failure", pgError("40001")],
    ["a deadlock", pgError("40P01")],
    ["a full server", pgError("53300")],
    ["a server that starts", pgError("57P03")],
    ["a server that became read-only", pgError("25006")],
    ["a lost prepared statement", pgError("26000")],
    ["a stale plan", pgError("0A000", "stale", "RevalidateCachedQuery")],
    ["a connection that was lost before", lostUnsent()],
    ["a connection that was lost meanwhile", lostSent()],
  ];
  for (const [name, error] of retried) {
    it(`after ${name}: one time less than it may fail`, async () => {
      for (const mode of ["read", "write"] as const) {
        const { transactions, calls } = fakeTransactions([
          error,
          error,
          error,
          "done",
        ]);
        await transactions[mode](context, work);
        assert.deepEqual(calls.map((call) => call.mode), Array(4).fill(mode));
      }
    });

    it(`after ${name}: not more often than it may`, async () => {
      const { transactions, calls } = fakeTransactions([error]);
      const { outcome, cause } = await failure(
        transactions.write(context, work),
        StreamStorageError,
      );
      assert.equal(calls.length, 4);
      assert.equal(cause, error);
      const isUnknown = error instanceof ConnectionLostError && error.sent;
      assert.equal(outcome, isUnknown ? "unknown" : "rolled_back");
    });
  }

  const final: [string, Error, string, string][] = [
    [
      "a broken rule",
      pgError("23505"),
      "DB_OPERATION_FAILURE",
      "database_error",
    ],
    ["a timeout", pgError("57014"), "DEADLINE_EXCEEDED", "statement_timeout"],
    ["a lock", pgError("55P03"), "DEADLINE_EXCEEDED", "lock_timeout"],
    [
      "a lack of rights",
      pgError("42501"),
      "BAD_CONFIG",
      "insufficient_privilege",
    ],
    [
      "a refused login",
      new ConnectionLostError("No", false, pgError("28P01")),
      "BAD_CONFIG",
      "login_refused",
    ],
    [
      "a full queue",
      new PoolOverloadError(9),
      "RESOURCE_EXHAUSTED",
      "pool_queue_full",
    ],
    ["a wait", new PoolTimeoutError(9), "DEADLINE_EXCEEDED", "acquire_timeout"],
    ["a close", new PoolClosedError(), "FAILED_PRECONDITION", "closed"],
  ];
  for (const [name, error, code, reason] of final) {
    it(`never after ${name}`, async () => {
      const { transactions, calls } = fakeTransactions([error, "done"]);
      const told = await failure(
        transactions.write(context, work),
        StreamStorageError,
      );
      assert.equal(calls.length, 1);
      assert.deepEqual(
        [told.code, told.details["reason"], told.outcome, told.cause],
        [code, reason, "rolled_back", error],
      );
    });
  }

  it("never by attemptShared, whose errors come as they are", async () => {
    const error = pgError("40001");
    const { transactions, calls } = fakeTransactions([error]);
    const told = await failure(
      transactions.attemptShared(context, work),
      PgError,
    );
    assert.equal(told, error);
    assert.equal(calls.length, 1);
  });

  it("until its deadline, which holds for all attempts", async () => {
    const { transactions, calls } = fakeTransactions([pgError("40001")], {
      retry: { attempts: 1000, minDelayMs: 5, maxDelayMs: 5 },
      operationTimeoutMs: 100,
    });
    const started = performance.now();
    await failure(transactions.write(context, work), StreamStorageError);
    assert.ok(performance.now() - started < 5000);
    assert.ok(calls.length > 3 && calls.length < 50);
    const [latest, ...others] = new Set(calls.map((call) => call.latest));
    assert.deepEqual(others, []);
    assert.ok(Math.abs(latest! - started - 100) < 50);
  });

  it("after ever longer delays, up to the longest", async () => {
    const { transactions } = fakeTransactions([pgError("40001")], {
      retry: { attempts: 6, minDelayMs: 10, maxDelayMs: 40 },
    });
    const started = performance.now();
    await failure(transactions.write(context, work), StreamStorageError);
    const took = performance.now() - started;
    assert.ok(took >= 10 + 20 + 3 * 40 - 5, `Took ${took} ms`);
  });
});

describe("A transaction whose answer was lost", () => {
  it("is told apart from one that was simply done", async () => {
    const plain = fakeTransactions([pgError("40001"), "done"]);
    const first = await plain.transactions.write(context, work);
    assert.equal(first.afterUnknown, false);
    const lost = fakeTransactions([lostSent(), pgError("40001"), "done"]);
    const second = await lost.transactions.write(context, work);
    assert.equal(second.afterUnknown, true);
  });

  it("tells so when a check refuses the next attempt", async () => {
    for (
      const [ends, afterUnknown] of [
        [[rejected()], false],
        [[pgError("40001"), rejected()], false],
        [[lostSent(), rejected()], true],
      ] as const
    ) {
      const { transactions } = fakeTransactions(ends);
      const error = await failure(
        transactions.write(context, work),
        RejectedError,
      );
      assert.deepEqual(error.rejection, {
        reason: "no",
        figures: { last: 7n },
      });
      assert.equal(error.afterUnknown, afterUnknown);
    }
  });

  it("stays unknown, whatever stops the next attempt", async () => {
    for (const error of [pgError("55P03"), new PoolTimeoutError(1)]) {
      const { transactions } = fakeTransactions([lostSent(), error]);
      const told = await failure(
        transactions.write(context, work),
        StreamStorageError,
      );
      assert.equal(told.outcome, "unknown");
    }
  });

  it("was lost in an earlier run: it is known from the start", async () => {
    const earlier = { ...context, afterUnknown: true };
    const again = fakeTransactions(["done"]);
    const { afterUnknown } = await again.transactions.write(earlier, work);
    assert.equal(afterUnknown, true);
    const { transactions } = fakeTransactions([lostUnsent()]);
    for (const mode of ["read", "write"] as const) {
      const told = await failure(
        transactions[mode](earlier, work),
        StreamStorageError,
      );
      assert.equal(told.outcome, "unknown");
    }
  });

  it("is nothing to worry about when it was a read", async () => {
    const { transactions } = fakeTransactions([lostSent()]);
    const told = await failure(
      transactions.read(context, work),
      StreamStorageError,
    );
    assert.equal(told.outcome, "rolled_back");
    assert.equal(told.code, "UNAVAILABLE");
    assert.equal(told.retryable, true);
  });
});

describe("A signal of a transaction", () => {
  it("ends the wait between attempts, whatever its reason is", async () => {
    for (const reason of [new Error("enough"), "enough", undefined]) {
      const { transactions, calls } = fakeTransactions([pgError("40001")], {
        retry: { attempts: 9, minDelayMs: 60_000, maxDelayMs: 60_000 },
      });
      const controller = new AbortController();
      const { signal } = controller;
      const read = transactions.read({ ...context, signal }, work);
      const told = failure(read, StreamStorageError);
      await until(() => calls.length === 1);
      controller.abort(reason);
      assert.equal((await told).code, "CANCELED");
      assert.equal((await told).cause, signal.reason);
      assert.equal(calls.length, 1);
    }
  });

  it("that was aborted before asks the server nothing", async () => {
    const { transactions, calls } = fakeTransactions(["done"]);
    const signal = AbortSignal.abort();
    const read = transactions.read({ ...context, signal }, work);
    assert.equal((await failure(read, StreamStorageError)).code, "CANCELED");
    assert.equal(calls.length, 0);
  });
});

describe("What an error means", () => {
  it("is found along the chain of its causes", () => {
    const wrapped = new Error("a", {
      cause: new Error("b", { cause: pgError("40P01") }),
    });
    assert.equal(verdictOf(wrapped, "write"), "retry");
    assert.equal(toStorageError(wrapped).details["sqlState"], "40P01");
    const loop = new Error("loop");
    loop.cause = loop;
    assert.equal(verdictOf(loop, "write"), "final");
  });

  it("takes no code of the operating system for a SQLSTATE", () => {
    for (const code of ["EPIPE", "EPERM", "ECONNRESET"]) {
      const cause = Object.assign(new Error(code), { code });
      const told = toStorageError(new ConnectionLostError("x", false, cause));
      assert.equal(told.details["sqlState"], undefined);
      assert.equal(told.code, "UNAVAILABLE");
    }
  });

  it("stays with an error that is the storage's own", () => {
    const own = new StreamStorageError({ code: "NOT_FOUND", message: "x" });
    assert.equal(toStorageError(own), own);
  });
});

describe("The ring of transactions", () => {
  it("tells what happened, the oldest first", async () => {
    const ends = [pgError("40001"), lostSent(), "done"] as const;
    const { transactions, ring } = fakeTransactions(ends);
    await transactions.write(context, work);
    const records = ring.dump();
    assert.deepEqual(records.map(({ event }) => event), [
      "begin",
      "rollback",
      "retry",
      "begin",
      "unknown",
      "retry",
      "begin",
      "commit",
    ]);
    for (const { name, tags, ageMs } of records) {
      assert.deepEqual([name, tags], ["test", "stream"]);
      assert.ok(ageMs >= 0);
    }
  });

  it("keeps the last ones, and nothing when it is off", () => {
    const ring = new TransactionRing(3);
    ring.record("a", "", "begin");
    assert.deepEqual(ring.dump(), []);
    ring.enabled = true;
    for (const name of ["a", "b", "c", "d", "e"]) {
      ring.record(name, "", "begin");
    }
    assert.deepEqual(ring.dump().map(({ name }) => name), ["c", "d", "e"]);
    ring.clear();
    assert.deepEqual(ring.dump(), []);
  });
});

describe("Transactions on a server", () => {
  function onServer() {
    const pool = new Pool({
      connect: () => testSession(),
      max: 1,
      depth: 1,
      maxWaiting: 10,
      acquireTimeoutMs: 10_000,
      reconnect: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const transactions = new Transactions({
      readPool: pool,
      writePool: pool,
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 10 },
      operationTimeoutMs: 10_000,
      ring: new TransactionRing(),
    });
    return { transactions, [Symbol.asyncDispose]: () => pool.close(1000) };
  }

  it("go on when a table was changed under their plans", async () => {
    await using table = await testTable("value varchar(5)");
    await using session = await testSession();
    await using server = onServer();
    const select = statement({
      text: `SELECT value FROM ${table.name}`,
      columns: ["text"],
    });
    const read = () => server.transactions.read(context, [bind(select)]);
    assert.deepEqual((await read())[0].rows, []);
    await session.script(
      `ALTER TABLE ${table.name} ALTER value TYPE text;
       INSERT INTO ${table.name} VALUES ('changed')`,
    );
    assert.deepEqual((await read())[0].rows, [["changed"]]);
  });

  it("are stopped by a check that gives its reason and figures", async () => {
    await using table = await testTable("id int8");
    await using server = onServer();
    const insert = statement({ text: `INSERT INTO ${table.name} VALUES (1)` });
    const check = statement({
      text: `SELECT CASE WHEN $1 > 0 THEN ${
        rejectSql("too_much", {
          least: "'-9223372036854775808'::int8",
          given: "$1",
          nothing: "NULL::int8",
        })
      } END`,
      params: ["int8"],
      columns: ["int4?"],
    });
    const write = (given: bigint) =>
      server.transactions.write(context, [bind(insert), bind(check, given)]);
    const { results } = await write(0n);
    assert.deepEqual(results[1].rows, [[null]]);
    const { rejection } = await failure(write(2n ** 63n - 1n), RejectedError);
    assert.deepEqual(rejection, {
      reason: "too_much",
      figures: {
        least: -(2n ** 63n),
        given: 2n ** 63n - 1n,
        nothing: null,
      },
    });
    await using session = await testSession();
    const [row] = await session.script(`SELECT count(*) FROM ${table.name}`);
    assert.deepEqual(row, ["1"]);
  });

  it("take no other failed cast for a check", async () => {
    await using session = await testSession();
    const error = await session.script("SELECT 'x{}'::int4").catch((e) => e);
    assert.equal(error.sqlState, "22P02");
    assert.equal(rejectionOf(error), undefined);
    assert.equal(rejectionOf(new Error("stream-storage:{}")), undefined);
  });
});
