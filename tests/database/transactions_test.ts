import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toStorageError, verdictOf } from "../../src/database/failures.ts";
import { Fence } from "../../src/database/fence.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import { Pool } from "../../src/database/pool.ts";
import {
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "../../src/database/pool_errors.ts";
import { rejectionOf, rejectSql } from "../../src/database/rejection.ts";
import { bind, type Bound, statement } from "../../src/database/statement.ts";
import { TransactionRing } from "../../src/database/transaction_ring.ts";
import { RejectedError } from "../../src/database/read_transactions.ts";
import {
  Transactions,
  type TransactionsOptions,
} from "../../src/database/transactions.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import { testSession, testTable } from "../support/sessions.ts";
import { until } from "../support/until.ts";

const work = [
  bind(statement({ text: "SELECT 1", columns: ["int4"] })),
] as const;
const send = () => work;
const done = [{ rows: [[1]], count: 1 }];

const pgError = (sqlState: string, message = "refused", routine = "") =>
  new PgError(new Map([["C", sqlState], ["M", message], ["R", routine]]), 0);
const lostSent = () => new ConnectionLostError("Gone", true);
const lostUnsent = () => new ConnectionLostError("Gone", false);
const once = { attempts: 1, minDelayMs: 1, maxDelayMs: 2 };
const rejected = () =>
  pgError("22P02", `invalid "stream-storage:{"reason":"no", "last":"7"}"`);

const fenceOf = (onClosed = () => {}) =>
  new Fence({
    table: "owners",
    instanceId: "us",
    epoch: 1000n,
    onRaised() {},
    onClosed,
  });

/**
 * Transactions whose attempts end as listed, the last way for ever; so do those
 * to raise the epoch, which are done by default.
 */
function fakeTransactions(
  ends: readonly (Error | "done")[],
  { raises = ["done"], ...options }:
    & Partial<TransactionsOptions>
    & { raises?: readonly (Error | "done" | "gone")[] } = {},
) {
  const calls: { mode: string; deadline: number; epoch: bigint }[] = [];
  const epochs: bigint[] = [];
  const ring = new TransactionRing();
  ring.enabled = true;
  const fence = options.fence ?? fenceOf();
  const nth = <T>(list: readonly T[], n: number) =>
    list[Math.min(n, list.length - 1)]!;
  const raise = (bound: readonly Bound[]) => {
    const end = nth(raises, epochs.length);
    epochs.push(bound[1]!.values[2] as bigint);
    if (end instanceof Error) return Promise.reject(end);
    return Promise.resolve([
      done,
      { rows: [], count: +(end === "done") },
      { rows: [[1n]], count: 1 },
    ]);
  };
  const pool = {
    run: (
      bound: readonly Bound[],
      mode: string,
      _signal: AbortSignal | undefined,
      deadline: number,
    ) => {
      if (bound[1]?.statement.text.startsWith("UPDATE")) return raise(bound);
      const end = nth(ends, calls.length);
      calls.push({ mode, deadline, epoch: fence.epoch });
      return end === "done" ? Promise.resolve(done) : Promise.reject(end);
    },
  } as unknown as Pool;
  const transactions = new Transactions({
    readPool: pool,
    writePool: pool,
    fence,
    fencePool: pool,
    retry: { attempts: 4, minDelayMs: 1, maxDelayMs: 2 },
    operationTimeoutMs: 60_000,
    ring,
    ...options,
  });
  const run = {
    read: () => transactions.read(context, work),
    write: () => transactions.write(context, send),
  };
  return { transactions, run, calls, epochs, fence, ring };
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
        const { run, calls } = fakeTransactions([error, error, error, "done"]);
        await run[mode]();
        assert.deepEqual(calls.map((call) => call.mode), Array(4).fill(mode));
      }
    });

    it(`after ${name}: not more often than it may`, async () => {
      const { transactions, calls } = fakeTransactions([error]);
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

  it("never by attemptShared, whose errors come as they are", async () => {
    const error = pgError("40001");
    const { transactions, calls } = fakeTransactions([error]);
    const thrown = await failure(
      transactions.attemptShared(context, send),
      PgError,
    );
    assert.equal(thrown, error);
    assert.equal(calls.length, 1);
  });

  it("until its deadline, which holds for all attempts", async () => {
    const { transactions, calls } = fakeTransactions([pgError("40001")], {
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

  it("after ever longer delays, up to the longest", async () => {
    const { transactions } = fakeTransactions([pgError("40001")], {
      retry: { attempts: 6, minDelayMs: 10, maxDelayMs: 40 },
    });
    const started = performance.now();
    await failure(transactions.write(context, send), StreamStorageError);
    const took = performance.now() - started;
    assert.ok(took >= 10 + 20 + 3 * 40 - 5, `Took ${took} ms`);
  });
});

describe("A write whose answer was lost", () => {
  /** A look that finds, each time, what is listed. */
  const looks = (...found: boolean[]) => {
    const asked: boolean[] = [];
    const wasDone = () => {
      asked.push(found[asked.length]!);
      return Promise.resolve(asked.at(-1)!);
    };
    return { asked, wasDone };
  };

  it("is looked for after the epoch was raised, and sent no more if it was done", async () => {
    const { transactions, calls, epochs } = fakeTransactions([lostSent()]);
    const { asked, wasDone } = looks(true);
    const results = await transactions.write({ ...context, wasDone }, send);
    assert.equal(results, undefined);
    assert.deepEqual([calls.length, epochs, asked], [1, [1001n], [true]]);
  });

  it("is sent again with the new epoch if it was not done", async () => {
    const ends = [lostSent(), lostSent(), "done"] as const;
    const { transactions, calls, epochs } = fakeTransactions(ends);
    const { asked, wasDone } = looks(false, false);
    const results = await transactions.write({ ...context, wasDone }, send);
    assert.equal(results?.length, 1);
    assert.deepEqual(calls.map(({ epoch }) => epoch), [1000n, 1001n, 1002n]);
    assert.deepEqual([epochs, asked], [[1001n, 1002n], [false, false]]);
  });

  it("is sent again without a look if it may be done twice", async () => {
    const { transactions, calls, epochs } = fakeTransactions([
      lostSent(),
      "done",
    ]);
    await transactions.write(context, send);
    assert.deepEqual([calls.length, epochs], [2, [1001n]]);
  });

  it("is refused like one that was never sent when it was not done", async () => {
    const { transactions } = fakeTransactions([lostSent(), rejected()]);
    const { wasDone } = looks(false);
    const { rejection } = await failure(
      transactions.write({ ...context, wasDone }, send),
      RejectedError,
    );
    assert.deepEqual(rejection, { reason: "no", figures: { last: 7n } });
  });

  it("is not written once it is certain, whatever stops the next attempt", async () => {
    for (const error of [pgError("55P03"), new PoolTimeoutError(1)]) {
      const { transactions } = fakeTransactions([lostSent(), error]);
      const { wasDone } = looks(false);
      const thrown = await failure(
        transactions.write({ ...context, wasDone }, send),
        StreamStorageError,
      );
      assert.equal(thrown.outcome, "rolled_back");
    }
  });

  it("stays unknown while the epoch can't be raised, or nothing be seen", async () => {
    for (const error of [lostSent(), lostUnsent(), pgError("53100")]) {
      const { transactions, calls } = fakeTransactions([lostSent(), "done"], {
        raises: [error],
      });
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.deepEqual([thrown.outcome, calls.length], ["unknown", 1]);
    }
    const fake = fakeTransactions([lostSent(), lostUnsent()]);
    const thrown = await failure(
      fake.transactions.write({
        ...context,
        wasDone: async () => {
          await fake.transactions.read(context, work);
          return false;
        },
      }, send),
      StreamStorageError,
    );
    assert.deepEqual([thrown.outcome, thrown.code], ["unknown", "UNAVAILABLE"]);
  });

  it("lets nothing be sent before the epoch was raised", async () => {
    const { transactions, calls, epochs } = fakeTransactions(
      [lostSent(), "done"],
      { raises: [lostUnsent(), lostSent(), "done"], retry: once },
    );
    await failure(transactions.write(context, send), StreamStorageError);
    for (let tries = 0; tries < 2; tries++) {
      // Another write; its own outcome is no matter of doubt.
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.equal(thrown.outcome, "rolled_back");
      assert.equal(calls.length, 1);
    }
    await transactions.attemptShared(context, send);
    assert.equal(calls[1]!.epoch, 1003n);
    // None is sent twice: its late copy would come between.
    assert.deepEqual(epochs, [1001n, 1002n, 1003n]);
  });

  it("ends the instance when its row is gone", async () => {
    let isClosed = false;
    const fence = fenceOf(() => isClosed = true);
    const { transactions, calls } = fakeTransactions([lostSent(), "done"], {
      fence,
      raises: ["gone"],
    });
    for (const [outcome, sent] of [["unknown", 1], ["rolled_back", 1]]) {
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.deepEqual(
        [thrown.details["reason"], thrown.outcome, calls.length],
        ["ownership_lost", outcome, sent],
      );
    }
    assert.ok(isClosed);
  });

  it("was lost in an earlier run: it is looked for before it is prepared", async () => {
    const { transactions, calls } = fakeTransactions(["done"]);
    const order: string[] = [];
    const again = {
      ...context,
      isInDoubt: true,
      wasDone: () => Promise.resolve(order.push("looked") < 0),
      prepare: () => Promise.resolve(void order.push("prepared")),
    };
    await transactions.write(again, send);
    assert.deepEqual([order, calls.length], [["looked", "prepared"], 1]);
  });

  it("is nothing to worry about when it was a read", async () => {
    const { transactions, epochs } = fakeTransactions([lostSent()]);
    const thrown = await failure(
      transactions.read(context, work),
      StreamStorageError,
    );
    assert.equal(thrown.outcome, "rolled_back");
    assert.equal(thrown.code, "UNAVAILABLE");
    assert.equal(thrown.retryable, true);
    assert.deepEqual(epochs, []);
  });
});

describe("A write that the fence stops", () => {
  const stopped = pgError("22P02", '"stream-storage:{"reason": "not_owner"}"');

  it("is sent again at once when only the epoch has risen", async () => {
    const { transactions, calls, fence, epochs } = fakeTransactions(
      [stopped, stopped, "done"],
      { retry: once },
    );
    // Raised for another write while this one was on its way.
    fence.doubt(fence.epoch);
    await transactions.write(context, send);
    assert.deepEqual(calls.map(({ epoch }) => epoch), [1001n, 1002n, 1003n]);
    assert.deepEqual(epochs, [1001n, 1002n, 1003n]);
  });

  it("ends the instance when the row is gone", async () => {
    const { transactions } = fakeTransactions([stopped], { raises: ["gone"] });
    const thrown = await failure(
      transactions.write(context, send),
      StreamStorageError,
    );
    assert.deepEqual(
      [thrown.details["reason"], thrown.outcome],
      ["ownership_lost", "rolled_back"],
    );
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
      const thrown = failure(read, StreamStorageError);
      await until(() => calls.length === 1);
      controller.abort(reason);
      assert.equal((await thrown).code, "CANCELED");
      assert.equal((await thrown).cause, signal.reason);
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
      const thrown = toStorageError(new ConnectionLostError("x", false, cause));
      assert.equal(thrown.details["sqlState"], undefined);
      assert.equal(thrown.code, "UNAVAILABLE");
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
      fence: fenceOf(),
      fencePool: pool,
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

  it("take no other failed cast for a check", async () => {
    await using session = await testSession();
    const error = await session.script("SELECT 'x{}'::int4").catch((e) => e);
    assert.equal(error.sqlState, "22P02");
    assert.equal(rejectionOf(error), undefined);
    assert.equal(rejectionOf(new Error("stream-storage:{}")), undefined);
  });
});
