/**
 * Random interleavings of calls, aborts, locks and ends of transactions: the
 * write queue, over fake transactions, keeps its order, limits and promises.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import fc from "fast-check";
import { WriteQueue } from "../../src/postgres/write_path/write_queue.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { FakeLocks } from "../support/write_path/fake_locks.ts";
import {
  FakeTransactions,
  type FakeWriteOptions,
  Locked,
  UnknownOutcome,
} from "../support/write_path/fake_transactions.ts";

const limits = {
  slots: 3,
  sharedSlots: 2,
  minDivided: 2,
  maxShared: 4,
  maxSharedBytes: 10,
  maxWaiting: 12,
  maxWaitingBytes: 30,
};

/** A write and its results. */
interface Tracked {
  name: string;
  streamId: StreamId;
  bytes: number;
  kind: "shared" | "single" | "solo";
  isBad: boolean;
  controller: AbortController;
  /** Each settlement of its promise; there must be exactly one. */
  outcomes: string[];
}

/** How a transaction ends. */
type How = "commit" | "fail" | "lost" | "done, lost" | "locked";

type Step =
  | {
    do: "submit";
    stream: number;
    bytes: number;
    kind: Tracked["kind"];
    isBad: boolean;
  }
  | { do: "abort"; which: number }
  | { do: "end"; which: number; how: How }
  | { do: "lock" | "free"; stream: number }
  | { do: "turn" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      stream: fc.nat(4),
      bytes: fc.integer({ min: 1, max: 12 }),
      kind: fc.constantFrom("shared", "shared", "single", "solo"),
      isBad: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("abort" as const),
      which: fc.nat(50),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      which: fc.nat(5),
      how: fc.constantFrom<How[]>(
        "commit",
        "commit",
        "fail",
        "lost",
        "done, lost",
        "locked",
      ),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: "turn" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("lock" as const, "free" as const),
      stream: fc.nat(4),
    }),
  },
);

const idOf = (stream: number) => `stream ${stream}` as StreamId;

class Model {
  readonly database = new FakeTransactions();
  readonly locks = new FakeLocks();
  readonly queue = new WriteQueue({
    ...limits,
    maxWaitMs: 60_000,
    maxLockWaitMs: 60_000,
    locks: this.locks,
    runBatch: this.database.runBatch,
    isUnknown: (error) => error instanceof UnknownOutcome,
    isLocked: (error) => error instanceof Locked,
  });
  readonly writes = new Map<string, Tracked>();
  /**
   * Transactions that met a lock: they run again later, even with no free slot.
   */
  locked = 0;
  /** The names of the writes that are stored of each stream, in order. */
  readonly stored = new Map<StreamId, string[]>();

  async run(steps: readonly Step[]): Promise<void> {
    for (const each of steps) {
      if (each.do === "submit") this.submit(each);
      else if (each.do === "abort") {
        [...this.writes.values()][each.which]?.controller.abort();
      } else if (each.do === "end") this.end(each.which, each.how);
      else if (each.do === "lock") this.locks.held.add(idOf(each.stream));
      else if (each.do === "free") await this.locks.free(idOf(each.stream));
      else await setImmediate();
      this.check();
    }
    await this.locks.free(...this.locks.held);
    for (;;) {
      await setImmediate();
      this.check();
      this.end(0, "commit");
      const writes = [...this.writes.values()];
      if (writes.every(({ outcomes }) => outcomes.length > 0)) break;
    }
    this.checkEnd();
  }

  submit(
    { stream, bytes, kind, isBad }: Extract<Step, { do: "submit" }>,
  ): void {
    const streamId = idOf(stream);
    const name = `w${this.writes.size}`;
    const controller = new AbortController();
    const outcomes: string[] = [];
    const tracked = {
      name,
      streamId,
      bytes,
      kind,
      isBad,
      controller,
      outcomes,
    };
    this.writes.set(name, tracked);
    const options: FakeWriteOptions = {
      bytes,
      signal: controller.signal,
      solo: kind === "solo",
      single: kind === "single",
    };
    this.queue.submit(this.database.write(streamId, name, options)).then(
      () => outcomes.push("done"),
      (error) =>
        outcomes.push(error.name === "AbortError" ? "aborted" : "failed"),
    );
  }

  end(which: number, how: How): void {
    const { inFlight } = this.database;
    const transaction = inFlight[which % inFlight.length];
    if (transaction === undefined) return;
    const without = transaction.names.filter((name) =>
      this.writes.get(name)!.isBad
    );
    const isLocked = transaction.streamIds.some((id) =>
      this.locks.held.has(id)
    );
    if (isLocked && how !== "lost") return transaction.fail(new Locked());
    if (how === "commit" || how === "done, lost") {
      for (const name of transaction.names) {
        if (!without.includes(name)) this.store(name);
      }
    }
    if (how === "locked") {
      this.locked++;
      transaction.fail(new Locked());
      return;
    }
    // A write that runs alone is retried below the queue, and has a clear
    // result.
    if (how === "commit" || transaction.kind === "alone") {
      if (how === "fail" || how === "lost") {
        transaction.fail(new Error("alone"));
      } else transaction.commit({ without });
    } else {
      transaction.fail(how === "fail" ? new Error() : new UnknownOutcome());
    }
  }

  /** Stores a write; a second attempt finds it done. */
  store(name: string): void {
    const { streamId } = this.writes.get(name)!;
    const names = this.stored.get(streamId) ?? [];
    if (!names.includes(name)) names.push(name);
    this.stored.set(streamId, names);
  }

  check(): void {
    const { inFlight } = this.database;
    const streams = inFlight.flatMap(({ streamIds }) => streamIds);
    const message = "A stream is in flight twice";
    assert.equal(new Set(streams).size, streams.length, message);
    const shared = inFlight.filter(({ kind }) => kind === "shared");
    assert.ok(shared.length <= limits.sharedSlots);
    assert.ok(this.queue.state.busySlots <= limits.slots + this.locked);
    // Writes that were in flight may have to wait again.
    const mostInFlight = limits.slots * limits.maxShared;
    assert.ok(this.queue.state.waiting <= limits.maxWaiting + mostInFlight);
    for (const { names } of shared) this.checkShared(names);
  }

  checkShared(names: readonly string[]): void {
    const writes = names.map((name) => this.writes.get(name)!);
    assert.ok(names.length <= limits.maxShared);
    const bytes = writes.reduce((sum, write) => sum + write.bytes, 0);
    assert.ok(names.length === 1 || bytes <= limits.maxSharedBytes);
    for (const write of writes) {
      assert.notEqual(write.kind, "solo");
      const sameStream = writes.filter(({ streamId }) =>
        streamId === write.streamId
      );
      assert.ok(write.kind !== "single" || sameStream.length === 1);
    }
  }

  checkEnd(): void {
    assert.deepEqual(this.queue.state, {
      waiting: 0,
      waitingBytes: 0,
      busySlots: 0,
    });
    const first = new Map<StreamId, string[]>();
    for (const { name, streamId, outcomes } of this.writes.values()) {
      assert.equal(outcomes.length, 1, `${name} was not settled once`);
      const isStored = this.stored.get(streamId)?.includes(name) ?? false;
      const [outcome] = outcomes;
      if (outcome === "done") assert.ok(isStored, `${name} is not stored`);
      if (outcome === "aborted") assert.ok(!isStored, `${name} is stored`);
      first.set(streamId, [...(first.get(streamId) ?? []), name]);
    }
    for (const [streamId, names] of this.stored) {
      const asked = first.get(streamId)!.filter((name) => names.includes(name));
      assert.deepEqual(names, asked, "The order is not that of the calls");
    }
  }
}

describe("A write queue under random interleavings", () => {
  it("keeps its order, its limits and its promises", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 80 }),
        (steps) => new Model().run(steps),
      ),
      { numRuns: 300 },
    );
  });
});
