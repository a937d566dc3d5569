/**
 * The quotas of a store against exact accounting, on a real server: random
 * calls, one by one and at once, some with a wrong slot or generation, across
 * restarts and deletions. The store acknowledges exactly what the accounting
 * admits.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";

const limits = {
  minipoolBytes: 100,
  minipoolEvents: 8,
  blocksSinceSnapshot: 6,
};

/** A call. Its numbers are relative to what the accounting expects by then. */
type Call =
  | { kind: "event"; generation: bigint; slot: number; size: number }
  | { kind: "blocks"; count: number; isSnapshot: boolean; sizes: number[] }
  | { kind: "create" | "delete" | "rebuild" };

interface Step {
  calls: Call[];
  /** All calls are made before the first one settles. */
  together: boolean;
  /** The store is closed and opened again afterwards. */
  restart: boolean;
}

/** What the accounting knows about a stream. */
interface Stream {
  last: bigint;
  snapshot: bigint;
  sizes: number[];
}

const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);
const bytes = (length: number) => new Uint8Array(length).fill(7);

/** Makes the calls of one stream, and keeps its accounts. */
class Caller {
  readonly id: StreamId = newStreamId("channel");
  #store: MaintenanceStore;
  stream: Stream | undefined;

  constructor(store: MaintenanceStore) {
    this.#store = store;
  }

  /** Makes the calls; each must be acknowledged or refused as the accounts say. */
  async make(step: Step): Promise<void> {
    const made: Promise<void>[] = [];
    for (const call of step.calls) {
      const one = this.#make(call);
      if (step.together) made.push(one);
      else await one;
    }
    await Promise.all(made);
    await this.#compare();
    if (!step.restart) return;
    await this.#store.storage.close();
    await this.#store.reopen();
  }

  async #make(call: Call): Promise<void> {
    const [promise, isIn] = this.#submit(call);
    let error: unknown;
    await promise.catch((reason) => error = reason);
    const shown = isStreamStorageError(error)
      ? `${error.code} ${error.details["reason"]}`
      : String(error);
    assert.equal(error === undefined, isIn, `${inText(call)}: ${shown}`);
  }

  /** The promise, and whether the call must be acknowledged. */
  #submit(call: Call): [Promise<unknown>, boolean] {
    switch (call.kind) {
      case "event":
        return this.#event(call);
      case "blocks":
        return this.#blocks(call);
      case "create":
        return this.#create();
      case "delete":
        return this.#delete();
      case "rebuild":
        return this.#rebuild();
    }
  }

  #event({ generation, slot, size }: Call & { kind: "event" }): [
    Promise<void>,
    boolean,
  ] {
    const { storage } = this.#store;
    const { last = 0n, sizes = [] } = this.stream ?? {};
    const [due, place] = [last + 1n, sizes.length];
    const given = due + generation < 0n ? 0n : due + generation;
    const at = Math.max(0, place + slot);
    const isIn = this.stream !== undefined && given === due && at === place &&
      at < limits.minipoolEvents && sum(sizes) + size <= limits.minipoolBytes;
    if (isIn) sizes.push(size);
    return [storage.writeEvent(this.id, given, at, bytes(size)), isIn];
  }

  #blocks({ count, isSnapshot, sizes }: Call & { kind: "blocks" }): [
    Promise<void>,
    boolean,
  ] {
    const { storage } = this.#store;
    const first = (this.stream?.last ?? 0n) + 1n;
    const last = first + BigInt(count) - 1n;
    const snapshot = isSnapshot ? last : this.stream?.snapshot ?? 0n;
    const promise = storage.writeMiniblocks(
      this.id,
      run(first, last).map((n) =>
        isSnapshot && n === last ? snapshotBlock(n) : block(n)
      ),
      { generation: last + 1n, envelopes: sizes.map(bytes) },
      { generation: first },
    );
    const isIn = this.stream !== undefined &&
      last - snapshot <= BigInt(limits.blocksSinceSnapshot);
    if (isIn) this.stream = { last, snapshot, sizes: [...sizes] };
    return [promise, isIn];
  }

  #create(): [Promise<void>, boolean] {
    const isIn = this.stream === undefined;
    if (isIn) this.stream = { last: 0n, snapshot: 0n, sizes: [] };
    const genesis = snapshotBlock(0);
    return [this.#store.storage.createStreamStorage(this.id, genesis), isIn];
  }

  #delete(): [Promise<void>, boolean] {
    const isIn = this.stream !== undefined;
    this.stream = undefined;
    return [this.#store.storage.deleteStream(this.id), isIn];
  }

  #rebuild(): [Promise<void>, boolean] {
    const last = (this.stream?.last ?? 4n) + 1n;
    this.stream = { last, snapshot: last, sizes: [] };
    const promise = this.#store.storage.reinitializeStreamStorage(
      this.id,
      [snapshotBlock(last)],
      last,
      true,
    );
    return [promise, true];
  }

  async #compare(): Promise<void> {
    if (this.stream === undefined) return;
    const { storage } = this.#store;
    const { events } = await storage.debugReadStreamData(this.id);
    assert.deepEqual(
      events.filter(({ slot }) => slot >= 0).map(({ data }) => data!.length),
      this.stream.sizes,
    );
  }
}

function inText(call: Call): string {
  return JSON.stringify(
    call,
    (_, value) => typeof value === "bigint" ? Number(value) : value,
  );
}

const mostly = <T>(value: T, others: readonly T[], weight = 10) =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, {
    weight: 1,
    arbitrary: fc.constantFrom(...others),
  });
const event: fc.Arbitrary<Call> = fc.record({
  kind: fc.constant("event" as const),
  generation: mostly(0n, [-1n, 1n]),
  slot: mostly(0, [-99, -1, 1]),
  size: fc.oneof(
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 101 }),
  ),
});
const blocks: fc.Arbitrary<Call> = fc.record({
  kind: fc.constant("blocks" as const),
  count: fc.integer({ min: 1, max: 4 }),
  isSnapshot: fc.boolean(),
  sizes: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 3 }),
});
const life: fc.Arbitrary<Call[]> = fc.constantFrom<Call[]>(
  [{ kind: "create" }],
  [{ kind: "delete" }, { kind: "create" }],
  [{ kind: "rebuild" }],
);
const step: fc.Arbitrary<Step> = fc.record({
  calls: fc.array(
    fc.oneof(
      { weight: 9, arbitrary: event.map((call) => [call]) },
      { weight: 3, arbitrary: blocks.map((call) => [call]) },
      { weight: 1, arbitrary: life },
    ),
    { minLength: 1, maxLength: 14 },
  ).map((calls) => calls.flat()),
  together: fc.boolean(),
  restart: mostly(false, [true], 7),
});

describe("Quotas over random calls", () => {
  let store: MaintenanceStore;

  before(async () => {
    store = await openMaintenanceStore({ quotas: limits, partitions: 1 });
  });
  after(() => store[Symbol.asyncDispose]());

  it("admit what fits, and nothing else", async () => {
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 8 }),
      async (steps) => {
        const caller = new Caller(store);
        const create: Call = { kind: "create" };
        await caller.make({ calls: [create], together: false, restart: false });
        for (const step of steps) await caller.make(step);
      },
    );
    await fc.assert(property, { seed: 20261130, numRuns: 60 });
  });
});
