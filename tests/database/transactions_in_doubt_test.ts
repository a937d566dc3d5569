/**
 * Transactions whose answers were lost, over a scripted pool: a write is looked
 * up or sent again only after the epoch was raised.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PoolTimeoutError } from "../../src/database/pool_errors.ts";
import { RejectedError } from "../../src/database/read_transactions.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import {
  context,
  failure,
  fenceOf,
  lostSent,
  lostUnsent,
  once,
  pgError,
  scriptedTransactions,
  send,
  work,
} from "../support/scripted_transactions.ts";

const rejected = () =>
  pgError("22P02", `invalid "stream-storage:{"reason":"no", "last":"7"}"`);

describe("A write whose answer was lost", () => {
  /** A look that finds what is listed, one result each time. */
  const looks = (...found: boolean[]) => {
    const asked: boolean[] = [];
    const wasDone = () => {
      asked.push(found[asked.length]!);
      return Promise.resolve(asked.at(-1)!);
    };
    return { asked, wasDone };
  };

  it("is looked up after the epoch was raised, and not sent again if it was done", async () => {
    const { transactions, calls, epochs } = scriptedTransactions([lostSent()]);
    const { asked, wasDone } = looks(true);
    const results = await transactions.write({ ...context, wasDone }, send);
    assert.equal(results, undefined);
    assert.deepEqual([calls.length, epochs, asked], [1, [1001n], [true]]);
  });

  it("is sent again with the new epoch if it was not done", async () => {
    const ends = [lostSent(), lostSent(), "done"] as const;
    const { transactions, calls, epochs } = scriptedTransactions(ends);
    const { asked, wasDone } = looks(false, false);
    const results = await transactions.write({ ...context, wasDone }, send);
    assert.equal(results?.length, 1);
    assert.deepEqual(calls.map(({ epoch }) => epoch), [1000n, 1001n, 1002n]);
    assert.deepEqual([epochs, asked], [[1001n, 1002n], [false, false]]);
  });

  it("is sent again without a look if it may be done twice", async () => {
    const { transactions, calls, epochs } = scriptedTransactions([
      lostSent(),
      "done",
    ]);
    await transactions.write(context, send);
    assert.deepEqual([calls.length, epochs], [2, [1001n]]);
  });

  it("is refused like one that was never sent, if it was not done", async () => {
    const { transactions } = scriptedTransactions([lostSent(), rejected()]);
    const { wasDone } = looks(false);
    const { rejection } = await failure(
      transactions.write({ ...context, wasDone }, send),
      RejectedError,
    );
    assert.deepEqual(rejection, { reason: "no", figures: { last: 7n } });
  });

  it("counts as rolled back once a look says so, whatever stops the next attempt", async () => {
    for (const error of [pgError("55P03"), new PoolTimeoutError(1)]) {
      const { transactions } = scriptedTransactions([lostSent(), error]);
      const { wasDone } = looks(false);
      const thrown = await failure(
        transactions.write({ ...context, wasDone }, send),
        StreamStorageError,
      );
      assert.equal(thrown.outcome, "rolled_back");
    }
  });

  it("stays unknown while the epoch can't be raised, or the look fails", async () => {
    for (const error of [lostSent(), lostUnsent(), pgError("53100")]) {
      const { transactions, calls } = scriptedTransactions(
        [lostSent(), "done"],
        {
          raises: [error],
        },
      );
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.deepEqual([thrown.outcome, calls.length], ["unknown", 1]);
    }
    const fake = scriptedTransactions([lostSent(), lostUnsent()]);
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

  it("lets no other write be sent before the epoch was raised", async () => {
    const { transactions, calls, epochs } = scriptedTransactions(
      [lostSent(), "done"],
      { raises: [lostUnsent(), lostSent(), "done"], retry: once },
    );
    await failure(transactions.write(context, send), StreamStorageError);
    for (let tries = 0; tries < 2; tries++) {
      // This is another write, whose own outcome is not in doubt.
      const thrown = await failure(
        transactions.write(context, send),
        StreamStorageError,
      );
      assert.equal(thrown.outcome, "rolled_back");
      assert.equal(calls.length, 1);
    }
    await transactions.attemptShared(context, send);
    assert.equal(calls[1]!.epoch, 1003n);
    // No epoch is sent twice, because a late copy could come in between.
    assert.deepEqual(epochs, [1001n, 1002n, 1003n]);
  });

  it("ends the instance if its row is gone", async () => {
    let isClosed = false;
    const fence = fenceOf(() => isClosed = true);
    const { transactions, calls } = scriptedTransactions([lostSent(), "done"], {
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

  it("is looked up before it is prepared, if an earlier run lost the answer", async () => {
    const { transactions, calls } = scriptedTransactions(["done"]);
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
});

describe("A read whose answer was lost", () => {
  it("fails as rolled back, and raises no epoch", async () => {
    const { transactions, epochs } = scriptedTransactions([lostSent()]);
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

  it("is sent again at once if only the epoch has risen", async () => {
    const { transactions, calls, fence, epochs } = scriptedTransactions(
      [stopped, stopped, "done"],
      { retry: once },
    );
    // The epoch was raised for another write while this one was in flight.
    fence.doubt(fence.epoch);
    await transactions.write(context, send);
    assert.deepEqual(calls.map(({ epoch }) => epoch), [1001n, 1002n, 1003n]);
    assert.deepEqual(epochs, [1001n, 1002n, 1003n]);
  });

  it("ends the instance if the row is gone", async () => {
    const { transactions } = scriptedTransactions([stopped], {
      raises: ["gone"],
    });
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
