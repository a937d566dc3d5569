/**
 * The write queue over fake transactions: which writes share a transaction,
 * what each gets as its result, and how long a write waits.
 * write_queue_locks_test.ts adds locks, write_queue_model_test.ts random
 * orders.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  a,
  b,
  c,
  d,
  fakeQueue,
  isError,
} from "../support/write_path/fake_queue.ts";
import { UnknownOutcome } from "../support/write_path/fake_transactions.ts";
import { until } from "../support/until.ts";

describe("The write queue", () => {
  it("sends a write at once if it is idle", async () => {
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

  it("sends the writes of one turn together", async () => {
    const { submit, inFlight, database } = fakeQueue();
    for (
      const [id, name] of [[c, "c0"], [a, "a0"], [c, "c1"], [b, "b0"]] as const
    ) {
      void submit(id, name);
    }
    assert.deepEqual(await inFlight(), ["c0 c1 a0 b0"]);
    assert.deepEqual(database.inFlight[0]!.streamIds, [c, a, b]);
  });

  it("sends the writes that gathered while its slots were busy together", async () => {
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

  it("divides the ready streams among its free slots, unless they are few", async () => {
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
    // One transaction slot is free: it takes all streams that are ready.
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["d5 e5", "a6 b6 c6"]);
  });

  it("divides the ready streams by their groups, if both groups have some", async () => {
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
    // The streams of the other slot's group wait, although a slot is free.
    database.inFlight[1]!.commit();
    assert.deepEqual(await inFlight(), ["b1 d1", "a2 c2"]);
    database.inFlight[1]!.commit();
    await inFlight();
    // The streams are of one group, so the free slot takes all of them.
    for (const id of ["f", "h", "j"]) void submit(id as StreamId, `${id}3`);
    assert.deepEqual(await inFlight(), ["b1 d1", "f3 h3 j3"]);
  });

  it("lets a few writes wait for the running transaction, but not for long", async () => {
    const { submit, database } = fakeQueue({ sharedSlots: 2, slots: 3 });
    const names = () => database.inFlight.map(({ names }) => names.join(" "));
    void submit(a, "a0");
    await until(() => names().length === 1);
    void submit(b, "b0");
    void submit(c, "c0", { solo: true });
    // A write that can't share gets a slot of its own at once.
    await until(() => names().length === 2);
    assert.deepEqual(names(), ["a0", "c0"]);
    await until(() => names().length === 3);
    assert.deepEqual(names(), ["a0", "c0", "b0"]);
  });

  it("sends the next write of a settled caller with those that waited", async () => {
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

  it("limits the number of writes in a batch", async () => {
    const { submit, inFlight, database } = fakeQueue({ maxShared: 3 });
    for (const name of ["a0", "a1"]) void submit(a, name);
    for (const name of ["b0", "b1"]) void submit(b, name);
    assert.deepEqual(await inFlight(), ["a0 a1 b0"]);
    database.inFlight[0]!.commit();
    assert.deepEqual(await inFlight(), ["b1"]);
  });

  it("limits the bytes of a batch, but sends a single write of any size", async () => {
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

  it("sends a single write with no other write to its stream", async () => {
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

  it("runs a write that can't share alone, in its turn", async () => {
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

  it("limits its slots, and those of shared transactions further", async () => {
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

  it("has no stream in flight twice", async () => {
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

describe("A shared transaction", () => {
  it("has a result of its own for each write, in order", async () => {
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

  it("that fails has each write run alone, so that only the bad one fails", async () => {
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

  it("whose end is unknown leaves each write in doubt, and each runs alone", async () => {
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

  it("holds up no other stream if one of its streams is stuck", async () => {
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

describe("A waiting write", () => {
  it("is removed by its signal", async () => {
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
    // The write in flight is not aborted.
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

  it("is refused if too many writes wait, or too large ones", async () => {
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

  it("is refused at its deadline, and never sent", async () => {
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

  it("is refused in one of several turns if many are late", async () => {
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
    // Blocks the event loop until the last write is late.
    for (const now = performance.now(); performance.now() < now + 60;);
    await until(() => settled.length > 0);
    const message = `${settled.length} were refused in the first turn`;
    assert.ok(settled.length < 900, message);
    await Promise.all(late);
    assert.deepEqual(settled, Array.from({ length: 900 }, (_, n) => `b${n}!`));
    database.inFlight[0]!.commit();
    await running;
  });

  it("is refused with an unknown outcome if it waits, in doubt, for its own stream", async () => {
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

describe("Closing the write queue", () => {
  it("settles the accepted writes, and refuses later ones", async () => {
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

  it("twice, as in the listener of a store's signal, takes no longer than once", async () => {
    const { submit, inFlight, database, queue } = fakeQueue();
    void submit(a, "a0");
    await inFlight();
    // A close that waits for its whole budget would never end.
    const closings = [queue.close(1e9), queue.close(1e9)];
    database.inFlight[0]!.commit();
    await Promise.all(closings);
  });

  it("ends at once if the queue is idle", async () => {
    await fakeQueue().queue.close(60_000);
  });

  it("refuses the writes that did not begin in time", async () => {
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

describe("Background writes", () => {
  it("take no transaction slot of the callers, and lose none to them", async () => {
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
    assert.deepEqual(settled, names, "The close did not wait for all writes");
  });
});
