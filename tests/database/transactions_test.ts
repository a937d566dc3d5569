/**
 * Transactions over a scripted pool and, at the end, on a real server: which
 * errors are retried, how long, and what the caller gets.
 * transactions_in_doubt_test.ts is about lost answers.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toStorageError, verdictOf } from "../../src/database/failures.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import { Pool } from "../../src/database/pool.ts";
import {
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "../../src/database/pool_errors.ts";
import { RejectedError } from "../../src/database/read_transactions.ts";
import { rejectionOf, rejectSql } from "../../src/database/rejection.ts";
import { bind, statement } from "../../src/database/statement.ts";
import { TransactionRing } from "../../src/database/transaction_ring.ts";
import { Transactions } from "../../src/database/transactions.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import {
  context,
  failure,
  fenceOf,
  lostSent,
  lostUnsent,
  pgError,
  scriptedTransactions,
  send,
  work,
} from "../support/scripted_transactions.ts";
import { testSession, testTable } from "../support/sessions.ts";
import { until } from "../support/until.ts";

describe("A transaction", () => {
  const retried: [string, Error][] = [
    ["a serialization failure", pgError("40001")],
    ["a deadlock", pgError("40P01")],
    ["a full server", pgError("53300")],
    ["a server that starts", pgError("57P03")],
    ["a server that became read-only", pgError("25006")],
    ["a lost prepared statement", pgError("26000")],
    ["a stale plan", pgError("0A000", "stale", "RevalidateCachedQuery")],
    ["a connection that was lost before the flush was sent", lostUnsent()],
    ["a connection that was lost afterwards", lostSent()],
  ];
  for (const [name, error] of retried) {
    it(`is tried again after ${name}, if attempts are left`, async () => {
      for (const mode of ["read", "write"] as const) {
        const { run, calls } = scriptedTransactions([
          error,
          error,
          error,
          "done",
        ]);
        await run[mode]();
        assert.deepEqual(calls.map((call) => call.mode), Array(4).fill(mode));
      }
    });

    it(`fails after ${name} at its last attempt`, async () => {
      const { transactions, calls } = scriptedTransactions([error]);
      const { outcome, cause } = await failure(
        transactions.write(context, send),
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
    ["a held lock", pgError("55P03"), "DEADLINE_EXCEEDED", "lock_timeout"],
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
    [
      "a long wait for a session",
      new PoolTimeoutError(9),
      "DEADLINE_EXCEEDED",
      "acquire_timeout",
    ],
    [
      "the pool's close",
      new PoolClosedError(),
      "FAILED_PRECONDITION",
      "closed",
    ],
  ];
  for (const [name, error, code, reason] of final) {
    it(`is not tried again after ${name}`, async () => {
      const { transactions, calls } = scriptedTransactions([error, "done"]);
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.equal(calls.length, 1);
      assert.deepEqual(
        [thrown.code, thrown.details["reason"], thrown.outcome, thrown.cause],
        [code, reason, "rolled_back", error],
      );
    });
  }

  it("is tried once by attemptShared, which throws the error as it is", async () => {
    const error = pgError("40001");
    const { transactions, calls } = scriptedTransactions([error]);
    const thrown = await failure(
      transactions.attemptShared(context, send),
      PgError,
    );
    assert.equal(thrown, error);
    assert.equal(calls.length, 1);
  });

  it("is tried again until its deadline, which is the same for all attempts", async () => {
    const { transactions, calls } = scriptedTransactions([pgError("40001")], {
      retry: { attempts: 1000, minDelayMs: 5, maxDelayMs: 5 },
      operationTimeoutMs: 100,
    });
    const started = performance.now();
    await failure(transactions.write(context, send), StreamStorageError);
    assert.ok(performance.now() - started < 5000);
    assert.ok(calls.length > 3 && calls.length < 50);
    const [deadline, ...others] = new Set(
      calls.map(({ deadline }) => deadline),
    );
    assert.deepEqual(others, []);
    assert.ok(Math.abs(deadline! - started - 100) < 50);
  });

  it("is tried again after growing delays, up to the longest", async () => {
    const { transactions } = scriptedTransactions([pgError("40001")], {
      retry: { attempts: 6, minDelayMs: 10, maxDelayMs: 40 },
    });
    const started = performance.now();
    await failure(transactions.write(context, send), StreamStorageError);
    const took = performance.now() - started;
    assert.ok(took >= 10 + 20 + 3 * 40 - 5, `Took ${took} ms`);
  });
});

describe("A transaction's signal", () => {
  it("ends the wait between attempts, whatever its reason is", async () => {
    for (const reason of [new Error("enough"), "enough", undefined]) {
      const { transactions, calls } = scriptedTransactions([pgError("40001")], {
        retry: { attempts: 9, minDelayMs: 60_000, maxDelayMs: 60_000 },
      });
      const controller = new AbortController();
      const { signal } = controller;
      const read = transactions.read({ ...context, signal }, work);
      const thrown = failure(read, StreamStorageError);
      await until(() => calls.length === 1);
      controller.abort(reason);
      assert.equal((await thrown).code, "CANCELED");
      assert.equal((await thrown).cause, signal.reason);
      assert.equal(calls.length, 1);
    }
  });

  it("keeps the transaction from the server if it was aborted before", async () => {
    const { transactions, calls } = scriptedTransactions(["done"]);
    const signal = AbortSignal.abort();
    const read = transactions.read({ ...context, signal }, work);
    assert.equal((await failure(read, StreamStorageError)).code, "CANCELED");
    assert.equal(calls.length, 0);
  });
});

describe("The meaning of an error", () => {
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

  it("is not taken from a code of the operating system that looks like SQLSTATE", () => {
    for (const code of ["EPIPE", "EPERM", "ECONNRESET"]) {
      const cause = Object.assign(new Error(code), { code });
      const thrown = toStorageError(new ConnectionLostError("x", false, cause));
      assert.equal(thrown.details["sqlState"], undefined);
      assert.equal(thrown.code, "UNAVAILABLE");
    }
  });

  it("stays that of an error which the store has made", () => {
    const own = new StreamStorageError({ code: "NOT_FOUND", message: "x" });
    assert.equal(toStorageError(own), own);
  });
});

describe("The ring of transactions", () => {
  it("records each attempt of a transaction, the oldest first", async () => {
    const ends = [pgError("40001"), lostSent(), "done"] as const;
    const { transactions, ring } = scriptedTransactions(ends);
    await transactions.write(context, send);
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

  it("keeps the last events, and nothing while it is off", () => {
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

describe("Transactions on a real server", () => {
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
      fence: fenceOf(),
      fencePool: pool,
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 10 },
      operationTimeoutMs: 10_000,
      ring: new TransactionRing(),
    });
    return { transactions, [Symbol.asyncDispose]: () => pool.close(1000) };
  }

  it("are repeated if a change of a table made their plans stale", async () => {
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

  it("are stopped by a check that returns its reason and figures", async () => {
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
      server.transactions.write(
        context,
        () => [bind(insert), bind(check, given)] as const,
      );
    const results = await write(0n);
    assert.deepEqual(results?.[1].rows, [[null]]);
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

  it("do not take another failed cast for a check", async () => {
    await using session = await testSession();
    const error = await session.script("SELECT 'x{}'::int4").catch((e) => e);
    assert.equal(error.sqlState, "22P02");
    assert.equal(rejectionOf(error), undefined);
    assert.equal(rejectionOf(new Error("stream-storage:{}")), undefined);
  });
});
