import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { WriteQueue } from "../../src/postgres/write_path/write_queue.ts";
import type { WriteQueueOptions } from "../../src/postgres/write_path/write_queue_options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { FakeLocks } from "../support/write_path/fake_locks.ts";
import {
  FakeTransactions,
  type FakeWriteOptions,
  Locked,
  UnknownOutcome,
} from "../support/write_path/fake_transactions.ts";
import { until } from "../support/until.ts";

const [a, b, c, d] = ["a", "b", "c", "d"] as [
  StreamId,
  StreamId,
  StreamId,
  StreamId,
];

function fakeQueue(options: Partial<WriteQueueOptions> = {}) {
  const database = new FakeTransactions();
  const locks = new FakeLocks();
  const queue = new WriteQueue({
    slots: 2,
    sharedSlots: 1,
    minDivided: 100,
    maxShared: 100,
    maxSharedBytes: 1000,
    maxWaiting: 1000,
    maxWaitingBytes: 100_000,
    maxWaitMs: 60_000,
    maxLockWaitMs: 60_000,
    locks,
    runBatch: database.runBatch,
    isUnknown: (error) => error instanceof UnknownOutcome,
    isLocked: (error) => error instanceof Locked,
    ...options,
  });
  const settled: string[] = [];
  const submit = (id: StreamId, name: string, options?: FakeWriteOptions) => {
    const promise = queue.submit(database.write(id, name, options));
    promise.then(() => settled.push(name), () => settled.push(`${name}!`));
    return promise;
  };
  /** The names in the transactions under way, when nothing more happens. */
  const inFlight = async () => {
    // What was answered, what is written then, and what goes on without it.
    for (let turn = 0; turn < 3; turn++) await setImmediate();
    return database.inFlight.map(({ names }) => names.join(" "));
  };
  return { queue, database, locks, submit, settled, inFlight };
}

function isError(code: string, reason: string) {
  return (error: unknown) =>
    isStreamStorageError(error) && error.code === code &&
    error.details.reason === reason;
}

describe("Sharing a transaction", () => {
  it("a write in an idle queue goes at once", async () => {
    const { submit, inFlight, settled, database, queue } = fakeQueue();
    const write = submit(a, "a0");
    assert.deepEqual(await inFlight(), ["a0"]);
    assert.deepEqual(settled, []);
    database.inFlight[0]!.commit();
    await write;
    await setImmediate();
    assert.deepEqual(queue.state, {
      waiting: 0,
      waitingBytes: 0,
      busySlots: 0,
    });
  });

  it("what is written in one turn goes together", async () => {
    const { submit, inFlight, database } = fakeQueue();
    for (
      const [id, name] of [[c, "c0"], [a, "a0"], [c, "c1"], [b, "b0"]] as const
    ) {
      void submit(id, name);
    }
    assert.deepEqual(await inFlight(), ["c0 c1 a0 b0"]);
    assert.deepEqual(database.inFlight[0]!.streamIds, [c, a, b]);
  });

  it("what gathers while the slots are busy goes together", async () => {
    const { submit, inFlight, database } = fakeQueue();
    void submit(a, "a0");
    await setImmediate();
    for (const name of ["b0", "b1", "b2"]) void submit(b, name);
    await setImmediate();
    void submit(c, "c0");
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["b0 b1 b2 c0"]);
  });

  it("free slots divide what is ready, unless it is little", async () => {
    const { submit, inFlight, database } = fakeQueue({
      sharedSlots: 2,
      minDivided: 2,
    });
    for (const name of ["a0", "a1", "a2"]) void submit(a, name);
    assert.deepEqual(await inFlight(), ["a0 a1 a2"]);
    database.inFlight[0]!.commit();
    await inFlight();
    for (const id of [a, b, c, d, "e" as StreamId]) void submit(id, `${id}5`);
    assert.deepEqual(await inFlight(), ["a5 b5 c5", "d5 e5"]);
    for (const id of [a, b, c, d]) void submit(id, `${id}6`);
    assert.deepEqual(await inFlight(), ["a5 b5 c5", "d5 e5"]);
    // One transaction slot is free: it takes all that is ready.
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["d5 e5", "a6 b6 c6"]);
  });

  it("slots divide what is ready by its groups, if there are both", async () => {
    const { submit, inFlight, database } = fakeQueue({
      sharedSlots: 2,
      minDivided: 2,
      groupOf: (id) => id.charCodeAt(0),
    });
    void submit(a, "a0");
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.commit();
    await inFlight();
    for (const id of [a, b, c, d]) void submit(id, `${id}1`);
    assert.deepEqual(await inFlight(), ["b1 d1", "a1 c1"]);
    for (const id of [a, b, c, d]) void submit(id, `${id}2`);
    // What waits for the other one's group stays, though a slot is free.
    database.inFlight[1]!.commit();
    assert.deepEqual(await inFlight(), ["b1 d1", "a2 c2"]);
    database.inFlight[1]!.commit();
    await inFlight();
    // There is nothing of this group.
    for (const id of ["f", "h", "j"]) void submit(id as StreamId, `${id}3`);
    assert.deepEqual(await inFlight(), ["b1 d1", "f3 h3 j3"]);
  });

  it("a few wait for the transaction under way, but not for long", async () => {
    const { submit, database } = fakeQueue({ sharedSlots: 2, slots: 3 });
    const names = () => database.inFlight.map(({ names }) => names.join(" "));
    void submit(a, "a0");
    await until(() => names().length === 1);
    void submit(b, "b0");
    void submit(c, "c0", { solo: true });
    // What shares nothing has a slot of its own at once.
    await until(() => names().length === 2);
    assert.deepEqual(names(), ["a0", "c0"]);
    await until(() => names().length === 3);
    assert.deepEqual(names(), ["a0", "c0", "b0"]);
  });

  it("who was answered goes on together with those who waited", async () => {
    const { submit, inFlight, database } = fakeQueue();
    const first = submit(a, "a0");
    await setImmediate();
    void submit(b, "b0");
    const next = first.then(() => void submit(a, "a1"));
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.commit();
    await next;
    assert.deepEqual(await inFlight(), ["b0 a1"]);
  });

  it("the number of writes is limited", async () => {
    const { submit, inFlight, database } = fakeQueue({ maxShared: 3 });
    for (const name of ["a0", "a1"]) void submit(a, name);
    for (const name of ["b0", "b1"]) void submit(b, name);
    assert.deepEqual(await inFlight(), ["a0 a1 b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["b1"]);
  });

  it("their bytes are limited, one of any size goes", async () => {
    const { submit, inFlight, database } = fakeQueue({ maxSharedBytes: 10 });
    void submit(a, "a0", { bytes: 6 });
    void submit(b, "b0", { bytes: 4 });
    void submit(c, "c0", { bytes: 1 });
    void submit(d, "d0", { bytes: 50 });
    assert.deepEqual(await inFlight(), ["a0 b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["c0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["d0"]);
  });

  it("a single write has no other of its stream beside it", async () => {
    const { submit, inFlight, database } = fakeQueue();
    for (const name of ["a0", "a1"]) void submit(a, name);
    void submit(a, "a2", { single: true });
    void submit(a, "a3");
    void submit(b, "b0", { single: true });
    void submit(b, "b1");
    assert.deepEqual(await inFlight(), ["a0 a1 b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a2 b1"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a3"]);
  });

  it("a write that can't share runs alone, in its turn", async () => {
    const { submit, inFlight, database } = fakeQueue({ slots: 1 });
    for (const name of ["a0", "a1"]) void submit(a, name);
    void submit(a, "a2", { solo: true });
    void submit(a, "a3");
    void submit(b, "b0");
    assert.deepEqual(await inFlight(), ["a0 a1 b0"]);
    void submit(b, "b1");
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a2"]);
    assert.equal(database.inFlight[0]!.kind, "alone");
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["b1 a3"]);
  });

  it("slots are limited, of shared transactions more so", async () => {
    const { submit, inFlight, database } = fakeQueue({ slots: 3 });
    void submit(a, "a0");
    await setImmediate();
    void submit(b, "b0");
    for (const id of [c, d, "e" as StreamId]) {
      void submit(id, `${id}0`, { solo: true });
    }
    assert.deepEqual(await inFlight(), ["a0", "c0", "d0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["c0", "d0", "b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["d0", "b0", "e0"]);
  });

  it("a stream is under way once at most", async () => {
    const { submit, inFlight, database } = fakeQueue({
      sharedSlots: 2,
      minDivided: 1,
    });
    void submit(a, "a0");
    await setImmediate();
    void submit(a, "a1");
    void submit(a, "a2", { solo: true });
    assert.deepEqual(await inFlight(), ["a0"]);
    void submit(b, "b0");
    assert.deepEqual(await inFlight(), ["a0", "b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["b0", "a1"]);
  });
});

describe("The verdict of a shared transaction", () => {
  it("is each write's own, in order", async () => {
    const { submit, inFlight, database, settled } = fakeQueue();
    const writes = ["a0", "a1", "a2", "a3"].map((name) => submit(a, name));
    const neighbour = submit(b, "b0");
    await inFlight();
    database.inFlight[0]!.commit({ without: ["a0", "a2"] });
    const results = await Promise.allSettled(writes);
    await neighbour;
    assert.deepEqual(
      results.map(({ status }) => status),
      ["rejected", "fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(database.explained, [["a0", 2], ["a2", 1]]);
    const done = settled.filter((name) => !name.endsWith("!"));
    assert.deepEqual(done, ["a1", "a3", "b0"]);
  });

  it("that it failed makes each run alone, one bad one fails", async () => {
    const { submit, inFlight, database } = fakeQueue();
    const [a0, a1, b0] = [submit(a, "a0"), submit(a, "a1"), submit(b, "b0")];
    void submit(b, "b1");
    await inFlight();
    database.inFlight[0]!.fail(new Error("a lock"));
    assert.deepEqual(await inFlight(), ["a0", "b0"]);
    for (const { kind, isInDoubt } of database.inFlight) {
      assert.deepEqual([kind, isInDoubt], ["alone", false]);
    }
    database.inFlight[0]!.fail(new Error("a0 is bad"));
    await assert.rejects(a0, /a0 is bad/);
    assert.deepEqual(await inFlight(), ["b0", "a1"]);
    for (const transaction of [...database.inFlight]) transaction.commit();
    assert.deepEqual(await Promise.all([a1, b0]), ["a1", "b0"]);
    assert.deepEqual(await inFlight(), ["b1"]);
  });

  it("that nobody knows is told to each that runs alone", async () => {
    const { submit, inFlight, database } = fakeQueue();
    for (const name of ["a0", "a1"]) void submit(a, name);
    await inFlight();
    database.inFlight[0]!.fail(new UnknownOutcome());
    for (const name of ["a0", "a1"]) {
      assert.deepEqual(await inFlight(), [name]);
      assert.equal(database.inFlight[0]!.isInDoubt, true);
      database.inFlight[0]!.commit();
    }
  });

  it("a stream that is stuck holds up nobody else", async () => {
    const { submit, inFlight, database } = fakeQueue();
    void submit(a, "a0");
    void submit(b, "b0");
    await inFlight();
    void submit(a, "a1");
    void submit(b, "b1");
    void submit(c, "c0");
    database.inFlight[0]!.fail(new Error("a is locked"));
    assert.deepEqual((await inFlight()).sort(), ["a0", "b0", "c0"]);
    const commit = (name: string) =>
      database.inFlight.find(({ names }) => names[0] === name)!.commit();
    commit("c0");
    commit("b0");
    assert.deepEqual(await inFlight(), ["a0", "b1"]);
    commit("b1");
    commit("a0");
    assert.deepEqual(await inFlight(), ["a1"]);
  });
});

describe("A write whose stream an outside session has locked", () => {
  it("is tried again, and others have its transaction slot meanwhile", async () => {
    const { submit, inFlight, database, queue } = fakeQueue({ slots: 1 });
    const [a0, b0] = [submit(a, "a0"), submit(b, "b0")];
    void submit(a, "a1");
    await inFlight();
    void submit(c, "c0");
    void submit(a, "a2");
    database.inFlight[0]!.fail(new Locked());
    assert.deepEqual(await inFlight(), ["a0", "b0"]);
    database.inFlight[0]!.fail(new Locked());
    database.inFlight[0]!.commit();
    await b0;
    // It may be back by then.
    const find = (name: string) =>
      database.inFlight.find(({ names }) => names[0] === name);
    await inFlight();
    find("c0")!.commit();
    await until(() => find("a0") !== undefined);
    find("a0")!.commit();
    await a0;
    for (const name of ["a1", "a2"]) {
      assert.deepEqual(await inFlight(), [name]);
      database.inFlight[0]!.commit();
    }
    await queue.close(60_000);
    assert.equal(queue.state.busySlots, 0);
  });

  it("is tried again when its reason was to be found out", async () => {
    const { submit, inFlight, database, queue } = fakeQueue({ slots: 1 });
    const a0 = submit(a, "a0", { single: true });
    void submit(a, "a1");
    await inFlight();
    database.inFlight[0]!.commit({ without: ["a0"] });
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.fail(new Locked());
    await setImmediate();
    assert.equal(queue.state.busySlots, 0);
    await until(() => database.inFlight.length > 0);
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.commit();
    assert.equal(await a0, "a0");
    assert.deepEqual(await inFlight(), ["a1"]);
  });

  it("holds up the close until it is settled", async () => {
    const { submit, database, queue, settled } = fakeQueue();
    void submit(a, "a0", { solo: true });
    await until(() => database.inFlight.length > 0);
    database.inFlight[0]!.fail(new Locked());
    const closing = queue.close(60_000).then(() => settled.push("closed"));
    await until(() => database.inFlight.length > 0);
    database.inFlight[0]!.commit();
    await closing;
    assert.deepEqual(settled, ["a0", "closed"]);
  });

  it("fails as it did last when its time is over", async () => {
    const { submit, database } = fakeQueue({ maxLockWaitMs: 300 });
    const write = submit(a, "a0", { solo: true });
    let isOver = false;
    const rejected = assert.rejects(write, Locked).then(() => isOver = true);
    while (!isOver) {
      database.inFlight[0]?.fail(new Locked());
      await setImmediate();
    }
    await rejected;
    assert.ok(database.begun.length > 1);
  });

  it("can be given up between two attempts, and is in doubt no more", async () => {
    const { submit, inFlight, database } = fakeQueue();
    const controller = new AbortController();
    const { signal } = controller;
    const given = submit(a, "a0", { signal });
    await inFlight();
    database.inFlight[0]!.fail(new UnknownOutcome());
    assert.deepEqual(await inFlight(), ["a0"]);
    assert.equal(database.inFlight[0]!.isInDoubt, true);
    database.inFlight[0]!.fail(new Locked());
    await until(() => database.inFlight.length > 0);
    assert.equal(database.inFlight[0]!.isInDoubt, false);
    // In flight it is not given up, but it is not tried again either.
    const reason = new Error("enough");
    controller.abort(reason);
    await setImmediate();
    database.inFlight[0]!.fail(new Locked());
    await assert.rejects(given, reason);
  });
});

describe("A write whose table an outside session has locked", () => {
  it("waits without a slot, with its stream, and others go on", async () => {
    const { submit, inFlight, database, locks, settled, queue } = fakeQueue({
      slots: 1,
    });
    for (const name of ["a0", "a1"]) void submit(a, name);
    void submit(b, "b0");
    await inFlight();
    void submit(a, "a2");
    void submit(a, "a3", { solo: true });
    locks.held.add(a);
    database.inFlight[0]!.fail(new Locked());
    assert.deepEqual(await inFlight(), ["b0"]);
    // It was no fault of b's: it runs alone, and nobody asks for a again.
    database.inFlight[0]!.commit();
    for (let nth = 1; nth < 4; nth++) {
      void submit(b, `b${nth}`, { solo: nth === 2 });
      assert.deepEqual(await inFlight(), [`b${nth}`]);
      database.inFlight[0]!.commit();
    }
    assert.deepEqual(await inFlight(), []);
    assert.deepEqual(queue.state, {
      waiting: 4,
      waitingBytes: 4,
      busySlots: 0,
    });
    assert.equal(locks.looks, 1);
    await locks.free(a);
    assert.deepEqual(await inFlight(), ["a0 a1 a2"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a3"]);
    database.inFlight[0]!.commit();
    await queue.close(60_000);
    assert.deepEqual(
      settled,
      ["b0", "b1", "b2", "b3", "a0", "a1", "a2", "a3"],
    );
  });

  it("meets it alone, and waits before those that are behind it", async () => {
    const { submit, inFlight, database, locks } = fakeQueue({
      backgroundSlots: 1,
    });
    void submit(a, "a0", { solo: true });
    void submit(b, "b0", { background: true });
    await inFlight();
    for (const id of [a, b]) void submit(id, `${id}1`);
    for (const id of [a, b]) locks.held.add(id);
    for (const transaction of [...database.inFlight]) {
      transaction.fail(new Locked());
    }
    assert.deepEqual(await inFlight(), []);
    await locks.free(a);
    assert.deepEqual(await inFlight(), ["a0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a1"]);
    database.inFlight[0]!.commit();
    await locks.free(b);
    assert.deepEqual(await inFlight(), ["b0"]);
  });

  it("stays in doubt when the lock kept it from finding out", async () => {
    class LockedInDoubt extends UnknownOutcome {}
    const { submit, inFlight, database, locks } = fakeQueue({
      isLocked: (error) =>
        error instanceof Locked || error instanceof LockedInDoubt,
    });
    const controller = new AbortController();
    const { signal } = controller;
    const writes = [submit(a, "a0", { signal }), submit(a, "a1", { signal })];
    await inFlight();
    database.inFlight[0]!.fail(new UnknownOutcome());
    await inFlight();
    locks.held.add(a);
    database.inFlight[0]!.fail(new LockedInDoubt());
    assert.deepEqual(await inFlight(), []);
    // Nobody may believe that it was not done.
    controller.abort();
    await locks.free(a);
    for (const [i, write] of writes.entries()) {
      assert.deepEqual(await inFlight(), [`a${i}`]);
      const [transaction] = database.inFlight;
      assert.deepEqual(
        [transaction!.kind, transaction!.isInDoubt],
        ["alone", true],
      );
      transaction!.commit();
      await write;
    }
  });

  it("is refused for that reason, sent or not, or given up", async () => {
    const { submit, inFlight, database, locks } = fakeQueue({
      maxLockWaitMs: 50,
    });
    const isLocked = isError("DEADLINE_EXCEEDED", "lock_timeout");
    const controller = new AbortController();
    const { signal } = controller;
    const [sent, given] = [submit(a, "a0"), submit(b, "b0", { signal })];
    await inFlight();
    const behind = submit(a, "a1");
    for (const id of [a, b]) locks.held.add(id);
    database.inFlight[0]!.fail(new Locked());
    await inFlight();
    const reason = new Error("enough");
    controller.abort(reason);
    await assert.rejects(given, reason);
    for (const write of [sent, behind, submit(a, "a2")]) {
      await assert.rejects(
        write,
        (error) =>
          isLocked(error) && isStreamStorageError(error) &&
          error.outcome === "rolled_back",
      );
    }
  });

  it("waits for it to be told its reason", async () => {
    const { submit, inFlight, database, locks } = fakeQueue({ slots: 1 });
    const a0 = submit(a, "a0", { single: true });
    await inFlight();
    database.inFlight[0]!.commit({ without: ["a0"] });
    await inFlight();
    locks.held.add(a);
    database.inFlight[0]!.fail(new Locked());
    void submit(b, "b0");
    assert.deepEqual(await inFlight(), ["b0"]);
    database.inFlight[0]!.commit();
    await locks.free(a);
    await until(() => database.inFlight.length > 0);
    database.inFlight[0]!.commit();
    assert.equal(await a0, "a0");
  });

  it("is closed with the queue", async () => {
    const { submit, inFlight, database, locks, queue } = fakeQueue();
    const isClosed = isError("FAILED_PRECONDITION", "closed");
    const [a0, b0] = [submit(a, "a0"), submit(b, "b0", { solo: true })];
    await inFlight();
    for (const id of [a, b]) locks.held.add(id);
    database.inFlight[0]!.fail(new Locked());
    await inFlight();
    await Promise.all([queue.close(20), assert.rejects(a0, isClosed)]);
    // Too late to wait.
    database.inFlight[0]!.fail(new Locked());
    await assert.rejects(b0, isClosed);
  });
});

describe("A write that waits", () => {
  it("is taken out by its signal", async () => {
    const { submit, inFlight, database, queue } = fakeQueue();
    void submit(a, "a0");
    await inFlight();
    const controller = new AbortController();
    const { signal } = controller;
    const [first, second] = [
      submit(a, "a1", { signal, bytes: 7 }),
      submit(b, "b0", { signal, solo: true }),
    ];
    void submit(a, "a2");
    const reason = new Error("enough");
    assert.deepEqual(await inFlight(), ["a0", "b0"]);
    controller.abort(reason);
    await assert.rejects(first, reason);
    assert.deepEqual(queue.state, {
      waiting: 1,
      waitingBytes: 1,
      busySlots: 2,
    });
    // What is under way is not given up.
    database.inFlight[1]!.commit();
    assert.equal(await second, "b0");
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a2"]);
    await assert.rejects(submit(c, "c0", { signal }), reason);
    assert.equal(
      database.begun.some(({ names }) => names.includes("a1")),
      false,
    );
  });

  it("is refused when there are too many, or too large ones", async () => {
    const { submit, inFlight } = fakeQueue({
      maxWaiting: 3,
      maxWaitingBytes: 10,
    });
    void submit(a, "a0", { bytes: 99 });
    await inFlight();
    void submit(a, "a1", { bytes: 99 });
    const isFull = isError("RESOURCE_EXHAUSTED", "write_queue_full");
    await assert.rejects(submit(b, "b0"), isFull);
    const next = fakeQueue({ maxWaiting: 3, maxWaitingBytes: 10 });
    void next.submit(a, "a0");
    await next.inFlight();
    for (const name of ["a1", "a2", "a3"]) void next.submit(a, name);
    await assert.rejects(next.submit(b, "b0"), isFull);
  });

  it("is refused when it is too old, before it is sent", async () => {
    const { submit, inFlight, database, queue } = fakeQueue({ maxWaitMs: 50 });
    const first = submit(a, "a0");
    await inFlight();
    const started = performance.now();
    const old = [submit(a, "a1"), submit(b, "b0")];
    for (const write of old) {
      await assert.rejects(
        write,
        isError("DEADLINE_EXCEEDED", "queue_timeout"),
      );
    }
    assert.ok(performance.now() - started >= 49);
    database.inFlight[0]!.commit();
    await first;
    assert.deepEqual(await inFlight(), []);
    assert.equal(queue.state.waiting, 0);
  });

  it("many that are late are refused in several turns", async () => {
    const { submit, settled, database, inFlight } = fakeQueue({
      maxWaitMs: 50,
      slots: 1,
    });
    const running = submit(a, "running", { solo: true });
    await inFlight();
    const late = Array.from(
      { length: 900 },
      (_, n) => submit(b, `b${n}`).catch(() => {}),
    );
    // Until the last one is late.
    for (const now = performance.now(); performance.now() < now + 60;);
    await until(() => settled.length > 0);
    assert.ok(settled.length < 900, `${settled.length} in the first turn`);
    await Promise.all(late);
    assert.deepEqual(settled, Array.from({ length: 900 }, (_, n) => `b${n}!`));
    database.inFlight[0]!.commit();
    await running;
  });

  it("is refused when it is too old behind its own stream", async () => {
    const { submit, inFlight, database } = fakeQueue({ maxWaitMs: 50 });
    const started = performance.now();
    const [first, second] = [submit(a, "a0"), submit(a, "a1")];
    await inFlight();
    database.inFlight[0]!.fail(new UnknownOutcome());
    await until(() => performance.now() - started > 51);
    database.inFlight[0]!.commit();
    assert.equal(await first, "a0");
    await assert.rejects(
      second,
      (error) =>
        isError("DEADLINE_EXCEEDED", "queue_timeout")(error) &&
        isStreamStorageError(error) && error.outcome === "unknown",
    );
  });
});

describe("Closing a queue", () => {
  it("settles what was accepted and takes no more", async () => {
    const { submit, inFlight, database, queue, settled } = fakeQueue();
    for (const name of ["a0", "a1"]) void submit(a, name);
    await inFlight();
    void submit(a, "a2", { solo: true });
    const closing = queue.close(60_000).then(() => settled.push("closed"));
    await assert.rejects(
      submit(b, "b0"),
      isError("FAILED_PRECONDITION", "closed"),
    );
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["a2"]);
    database.inFlight[0]!.commit();
    await closing;
    assert.deepEqual(settled, ["b0!", "a0", "a1", "a2", "closed"]);
  });

  it("twice, as in the listener of a store's signal, is closing once", async () => {
    const { submit, inFlight, database, queue } = fakeQueue();
    void submit(a, "a0");
    await inFlight();
    // A budget that is waited for would end the test.
    const closings = [queue.close(1e9), queue.close(1e9)];
    database.inFlight[0]!.commit();
    await Promise.all(closings);
  });

  it("an idle one is at once", async () => {
    await fakeQueue().queue.close(60_000);
  });

  it("refuses what did not begin in time", async () => {
    const { submit, inFlight, database, queue } = fakeQueue();
    const first = submit(a, "a0");
    await inFlight();
    const second = submit(a, "a1");
    await Promise.all([
      queue.close(20),
      assert.rejects(second, isError("FAILED_PRECONDITION", "closed")),
    ]);
    database.inFlight[0]!.commit();
    await first;
  });
});

describe("Writes of the background", () => {
  it("take no transaction slot of the callers, nor the callers one of theirs", async () => {
    const { submit, inFlight, database } = fakeQueue({
      slots: 1,
      backgroundSlots: 1,
    });
    void submit(a, "a0", { background: true });
    void submit(b, "b0", { background: true });
    void submit(c, "c0", { solo: true });
    void submit(d, "d0", { solo: true });
    assert.deepEqual((await inFlight()).sort(), ["a0", "c0"]);
    database.inFlight.find(({ names: [name] }) => name === "c0")!.commit();
    assert.deepEqual((await inFlight()).sort(), ["a0", "d0"]);
    database.inFlight.find(({ names: [name] }) => name === "a0")!.commit();
    assert.deepEqual((await inFlight()).sort(), ["b0", "d0"]);
  });

  it("keep their place in the queue of their stream", async () => {
    const { submit, inFlight, database, settled, queue } = fakeQueue({
      backgroundSlots: 1,
    });
    const names = ["a0", "a1", "a2"];
    for (const name of names) {
      void submit(a, name, name === "a1" ? { background: true } : {});
    }
    const closing = queue.close(60_000);
    for (const name of names) {
      assert.deepEqual(await inFlight(), [name]);
      database.inFlight[0]!.commit();
    }
    await closing;
    assert.deepEqual(settled, names, "close waits for them");
  });
});
