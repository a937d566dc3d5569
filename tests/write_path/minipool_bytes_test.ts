/**
 * The count of a minipool's bytes against a model of the table, whatever
 * happens to the writes: they are refused, aborted while they wait, fail, lose
 * their answers with or without a commit, or a failover takes their commits
 * back.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type CountedEvent,
  MinipoolBytes,
} from "../../src/postgres/minipool_bytes.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";

const limit = 100;
const id = newStreamId();

function newCount(): MinipoolBytes {
  return new MinipoolBytes({
    limit,
    maxStreams: 10,
    check: (streamId, bytes) => {
      if (bytes > limit) throw exhausted(streamId);
    },
    grown: () => {},
  });
}

function exhausted(message: string): StreamStorageError {
  return new StreamStorageError({ code: "RESOURCE_EXHAUSTED", message });
}

const refused = new StreamStorageError({
  code: "DB_OPERATION_FAILURE",
  message: "refused",
});
const lost = new StreamStorageError({
  code: "DB_OPERATION_FAILURE",
  message: "lost",
  outcome: "unknown",
});

/** What the tables hold; undefined: there is no such stream. */
type Table = { generation: bigint; sizes: number[] } | undefined;

/** How a write ends once it is sent, or that it is aborted before. */
type Fate = "answered" | "aborted" | "failed" | "lost" | "lost, committed";

type Call =
  | { kind: "event"; ahead: number; offset: number; size: number; fate: Fate }
  | { kind: "swap"; ahead: number; sizes: number[]; fate: Fate }
  | { kind: "create" | "delete" | "rebuild"; fate: Fate };

interface WaitingEvent extends CountedEvent {
  size: number;
  /** It was admitted before a failover took commits back. */
  isMisled: boolean;
}

interface Waiting {
  /** Runs in its turn; true if it was committed. */
  run(): boolean;
  fate: Fate;
  event?: WaitingEvent;
  done(): void;
  failed(error: unknown): void;
}

/** A stream whose writes wait in a queue until the test runs them. */
class Simulation {
  table: Table = { generation: 1n, sizes: [] };
  #count = newCount();
  #queue: Waiting[] = [];
  looks = 0;
  /** The minipool as a caller expects it if all its calls succeed. */
  #expected = { generation: 1n, next: 0 };

  get bytes(): number {
    return (this.table?.sizes ?? []).reduce((a, b) => a + b, 0);
  }

  submit(call: Call): void {
    switch (call.kind) {
      case "event":
        return this.#submitEvent(call);
      case "swap":
        return this.#submitSwap(call);
      case "create":
      case "delete":
      case "rebuild":
        return this.#submitOther(call.kind, call.fate);
    }
  }

  /** Runs the first writes of the queue, at most so many at once. */
  turn(together: number): void {
    this.#abortOne();
    const first = this.#queue.shift();
    if (first === undefined) return;
    const taken = [first];
    if (first.event?.fits) {
      while (taken.length < together && this.#queue[0]?.event?.fits) {
        taken.push(this.#queue.shift()!);
      }
    } else if (first.event && !this.#look(first, first.event)) return;
    this.#end(taken, taken.map((write) => this.#runOne(write)));
  }

  runAll(together: number): void {
    while (this.#queue.length > 0) this.turn(together);
    this.#expect();
  }

  /** Aborts a write anywhere in the queue. */
  #abortOne(): void {
    const at = this.#queue.findIndex(({ fate }) => fate === "aborted");
    if (at < 0) return;
    const [write] = this.#queue.splice(at, 1);
    write!.failed(new Error("aborted"));
  }

  /** Continues with another server, which has only this table. */
  failOver(table: Table): void {
    this.table = structuredClone(table);
    this.#count.forgetAll();
    for (const { event } of this.#queue) if (event) event.isMisled = true;
    this.#expect();
  }

  restart(): void {
    this.#count = newCount();
    this.#expect();
  }

  #expect(): void {
    const { generation = 1n, sizes = [] } = this.table ?? {};
    this.#expected = { generation, next: sizes.length };
  }

  #look(write: Waiting, event: WaitingEvent): boolean {
    this.looks++;
    event.isMisled = false;
    const stored = this.bytes;
    try {
      event.check(stored);
      return true;
    } catch (error) {
      assert.ok(stored + event.size > limit, "The event would have fitted");
      write.failed(error);
      return false;
    }
  }

  #runOne(write: Waiting): boolean {
    const { fate } = write;
    if (fate === "aborted" || fate === "failed" || fate === "lost") {
      return false;
    }
    const isDone = write.run();
    if (write.event && isDone) {
      assert.ok(this.bytes <= limit, `${this.bytes} bytes are stored`);
    }
    return isDone;
  }

  #end(taken: readonly Waiting[], done: readonly boolean[]): void {
    for (const [i, write] of taken.entries()) {
      if (write.fate.startsWith("lost")) write.failed(lost);
      else if (done[i]) write.done();
      else write.failed(refused);
    }
  }

  #submitEvent(
    { ahead, offset, size, fate }: Call & { kind: "event" },
  ): void {
    const generation = this.#expected.generation + BigInt(ahead);
    const slot = Math.max(0, this.#expected.next + offset);
    const envelope = new Uint8Array(size);
    const counted = this.#count.enter(id, { generation, slot, envelope });
    // If the event can't be admitted at once, it is checked again in its turn.
    const isAdmitted = counted.fits;
    if (ahead === 0 && offset === 0) this.#expected.next++;
    this.#queue.push({
      fate,
      event: {
        size,
        isMisled: false,
        get fits() {
          if (counted.fits && !isAdmitted) this.isMisled = false;
          return counted.fits;
        },
        check: (stored) => counted.check(stored),
        done: () => counted.done(),
        failed: (error) => counted.failed(error),
      },
      run: () => {
        if (this.table?.generation !== generation) return false;
        if (this.table.sizes.length !== slot) return false;
        this.table.sizes.push(size);
        return true;
      },
      done: () => counted.done(),
      failed: (error) => counted.failed(error),
    });
  }

  #submitSwap({ ahead, sizes, fate }: Call & { kind: "swap" }): void {
    const before = this.#expected.generation + BigInt(ahead);
    const generation = before + 1n;
    const begun = this.#count.begins(id, {
      generation,
      envelopes: sizes.map((size) => new Uint8Array(size)),
    });
    if (ahead === 0) this.#expected = { generation, next: sizes.length };
    this.#queue.push({
      fate,
      run: () => {
        if (this.table?.generation !== before) return false;
        this.table = { generation, sizes: [...sizes] };
        return true;
      },
      done: begun,
      failed: () => {},
    });
  }

  #submitOther(kind: "create" | "delete" | "rebuild", fate: Fate): void {
    const created = kind === "create"
      ? this.#count.begins(id, { generation: 1n, envelopes: [] })
      : undefined;
    const forget = () => this.#count.forget(id);
    if (kind !== "rebuild") this.#expected = { generation: 1n, next: 0 };
    this.#queue.push({
      fate,
      run: () => {
        const { table } = this;
        if (kind === "create" && table !== undefined) return false;
        if (kind === "rebuild" && table === undefined) return false;
        const generation = kind === "rebuild" ? table!.generation + 1n : 1n;
        this.table = kind === "delete" ? undefined : { generation, sizes: [] };
        return true;
      },
      done: created ?? forget,
      failed: kind === "delete" ? forget : () => {},
    });
  }
}

const mostly = <T>(value: T, others: readonly T[], weight = 8) =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, {
    weight: 1,
    arbitrary: fc.constantFrom(...others),
  });
const fate = mostly<Fate>(
  "answered",
  ["aborted", "failed", "lost", "lost, committed"],
  12,
);
const size = fc.integer({ min: 1, max: 60 });
const event = fc.record({
  kind: fc.constant("event" as const),
  ahead: mostly(0, [-1, 1], 12),
  offset: mostly(0, [-99, -1, 1]),
  size,
  fate,
});
const swap = fc.record({
  kind: fc.constant("swap" as const),
  ahead: mostly(0, [-1, 1]),
  sizes: fc.array(size, { maxLength: 3 }),
  fate,
});
const other = fc.record({
  kind: fc.constantFrom<"create" | "delete" | "rebuild">(
    "create",
    "delete",
    "rebuild",
  ),
  fate,
});
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 12, arbitrary: event },
  { weight: 3, arbitrary: swap },
  { weight: 2, arbitrary: other },
);
const rounds = fc.array(
  fc.record({
    calls: fc.array(
      fc.record({ call, turns: fc.constantFrom(0, 0, 0, 1, 1, 2) }),
      { minLength: 1, maxLength: 12 },
    ),
    together: fc.integer({ min: 1, max: 5 }),
    behind: mostly<"" | "restart" | "failover">("", ["restart", "failover"], 4),
    failOverAt: fc.option(fc.nat(11), { freq: 6 }),
  }),
  { minLength: 1, maxLength: 6 },
);

/** An event in the slot that is due. */
const next = (size: number): Call => ({
  kind: "event",
  ahead: 0,
  offset: 0,
  size,
  fate: "answered",
});

describe("MinipoolBytes", () => {
  it("admits the events that fit, and no others, however the writes end", () => {
    const property = fc.property(rounds, (rounds) => {
      const stream = new Simulation();
      for (const { calls, together, behind, failOverAt } of rounds) {
        const before = structuredClone(stream.table);
        for (const [i, { call, turns }] of calls.entries()) {
          if (i === failOverAt) stream.failOver(before);
          for (let n = 0; n < turns; n++) stream.turn(together);
          stream.submit(call);
        }
        stream.runAll(together);
        if (behind === "restart") stream.restart();
        if (behind === "failover") stream.failOver(before);
      }
    });
    fc.assert(property, { seed: 20261130, numRuns: 10_000 });
  });

  it("needs no look after a creation or a swap of its own", () => {
    const stream = new Simulation();
    stream.submit({ kind: "delete", fate: "answered" });
    stream.submit({ kind: "create", fate: "answered" });
    stream.runAll(9);
    for (let n = 0; n < 9; n++) stream.submit(next(5));
    stream.runAll(9);
    stream.submit({ kind: "swap", ahead: 0, sizes: [50], fate: "answered" });
    for (let n = 0; n < 9; n++) stream.submit(next(5));
    stream.runAll(9);
    assert.equal(stream.looks, 0);
    assert.equal(stream.bytes, 95);
  });

  it("looks once for all waiting events if it does not know the minipool", () => {
    const stream = new Simulation();
    stream.table = { generation: 1n, sizes: [10, 10] };
    stream.restart();
    for (let n = 0; n < 9; n++) stream.submit(next(5));
    stream.runAll(9);
    assert.equal(stream.looks, 1);
    assert.equal(stream.bytes, 65);
  });

  it("learns nothing from a refused write to slot 0", () => {
    const stream = new Simulation();
    stream.table = { generation: 1n, sizes: [90] };
    stream.restart();
    stream.submit({ ...next(10), offset: -1 } as Call);
    stream.submit(next(20));
    stream.runAll(9);
    assert.equal(stream.looks, 1);
    assert.equal(stream.bytes, 90);
  });

  it("forgets a deleted stream before the next one of its name", () => {
    const stream = new Simulation();
    stream.submit({ kind: "swap", ahead: 0, sizes: [], fate: "answered" });
    stream.submit({ kind: "delete", fate: "answered" });
    stream.submit({ kind: "create", fate: "lost, committed" });
    stream.submit({
      kind: "swap",
      ahead: 0,
      sizes: [90],
      fate: "lost, committed",
    });
    for (const size of [5, 20]) {
      stream.submit(next(size));
      stream.runAll(9);
    }
    assert.equal(stream.bytes, 95);
  });

  it("forgets what a failover may have taken back", () => {
    const stream = new Simulation();
    stream.submit(next(80));
    stream.runAll(1);
    stream.submit({ ...next(15), fate: "failed" } as Call);
    // It fits only if the event before fails, so it is checked again in its
    // turn.
    stream.submit({ ...next(10), offset: -1 } as Call);
    stream.failOver({ generation: 1n, sizes: [95] });
    stream.runAll(1);
    assert.equal(stream.bytes, 95);
  });
});
