/**
 * The write queue over fake transactions while an outside session has locked a
 * stream or a table: the write waits without a transaction slot, so that others
 * go on.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  a,
  b,
  c,
  fakeQueue,
  isError,
} from "../support/write_path/fake_queue.ts";
import {
  Locked,
  UnknownOutcome,
} from "../support/write_path/fake_transactions.ts";
import { until } from "../support/until.ts";

describe("A write whose stream an outside session has locked", () => {
  it("is tried again, and leaves its transaction slot to others meanwhile", async () => {
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
    const find = (name: string) =>
      database.inFlight.find(({ names }) => names[0] === name);
    await until(() => {
      // On a slow machine the write is in flight again; the lock is still held.
      find("a0")?.fail(new Locked());
      return find("c0") !== undefined;
    });
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

  it("is tried again if only the reason of its refusal was to be found", async () => {
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

  it("keeps the queue from closing until it is settled", async () => {
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

  it("fails with its last error when its time is over", async () => {
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

  it("can be aborted between two attempts, and is no longer in doubt", async () => {
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
    // A write in flight is not aborted, but it is not tried again either.
    const reason = new Error("enough");
    controller.abort(reason);
    await setImmediate();
    database.inFlight[0]!.fail(new Locked());
    await assert.rejects(given, reason);
  });
});

describe("A write whose table an outside session has locked", () => {
  it("waits without a slot, as does its stream, while others go on", async () => {
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
    // Stream b is not locked: it runs alone, and no write to a is sent again.
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

  it("keeps its place before later writes, if it met the lock alone", async () => {
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

  it("stays in doubt if the lock kept the store from looking it up", async () => {
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
    // An abort must not report that the writes were not done.
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

  it("fails with that reason, sent or not, unless it is aborted", async () => {
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

  it("waits for the table if only its reason was to be found", async () => {
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

  it("is refused when the queue closes", async () => {
    const { submit, inFlight, database, locks, queue } = fakeQueue();
    const isClosed = isError("FAILED_PRECONDITION", "closed");
    const [a0, b0] = [submit(a, "a0"), submit(b, "b0", { solo: true })];
    await inFlight();
    for (const id of [a, b]) locks.held.add(id);
    database.inFlight[0]!.fail(new Locked());
    await inFlight();
    await Promise.all([queue.close(20), assert.rejects(a0, isClosed)]);
    // The queue is closed, so this write can't wait any more.
    database.inFlight[0]!.fail(new Locked());
    await assert.rejects(b0, isClosed);
  });
});
