/** writeEvent. */
import assert from "node:assert/strict";
import {
  BAD_COUNTS,
  BAD_DATA,
  BAD_NUMBERS,
  faultsOf,
  testFaultyCalls,
} from "./common.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertRefused,
  assertServes,
  assertStorageError,
  block,
  bytes,
  type ExpectedError,
  MAX_NUMBER,
  minipool,
  newStreamId,
  plantedStream,
  run,
  settle,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function writeEventContract(suite: Suite): void {
  testFaultyCalls(suite, "writeEvent", [
    ...faultsOf(
      "minipoolGeneration",
      BAD_NUMBERS,
      (storage, generation) =>
        storage.writeEvent(newStreamId(), generation, 0, bytes("event")),
    ),
    ...faultsOf(
      "minipoolSlot",
      BAD_COUNTS,
      (storage, slot) =>
        storage.writeEvent(newStreamId(), 1n, slot, bytes("event")),
    ),
    ...faultsOf(
      "envelope",
      BAD_DATA,
      (storage, envelope) => storage.writeEvent(newStreamId(), 1n, 0, envelope),
    ),
  ]);
  testOrder(suite);
  testMismatches(suite);
  testBrokenMinipools(suite);
  testCompetition(suite);
}

function testOrder(suite: Suite): void {
  suite.test("writeEvent fills the slots in order", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    for (const slot of [0, 1, 2]) {
      await storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`));
    }
    await assertServes(storage, id, {
      blocks: [0n],
      latest: 0n,
      events: ["event 0", "event 1", "event 2"],
    });
  });

  suite.test("writeEvent calls made together are taken in order", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const slots = run(0, 19).map(Number);
    await Promise.all(
      slots.map((slot) =>
        storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`))
      ),
    );
    await assertServes(storage, id, {
      blocks: [0n],
      latest: 0n,
      events: slots.map((slot) => `event ${slot}`),
    });
  });

  suite.planted(
    "writeEvent works at the largest generation",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(
        id,
        plantedStream([MAX_NUMBER - 1n], { snapshots: [MAX_NUMBER - 1n] }),
      );
      await storage.writeEvent(id, MAX_NUMBER, 0, bytes("last"));
      await assertServes(storage, id, {
        blocks: [MAX_NUMBER - 1n],
        latest: MAX_NUMBER - 1n,
        events: ["last"],
      });
    },
  );

  suite.test("writeEvent takes events of many sizes", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const events = [1, 100, 10_000, 300_000].map((size) =>
      new Uint8Array(size).fill(size % 251)
    );
    await Promise.all(
      events.map((event, slot) => storage.writeEvent(id, 1n, slot, event)),
    );
    const view = await storage.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(view.minipoolEnvelopes, events);
  });
}

function testMismatches(suite: Suite): void {
  const cases: [generation: bigint, slot: number, expected: ExpectedError][] = [
    [1n, 2, generationMismatch(1n, 2n)],
    [3n, 2, generationMismatch(3n, 2n)],
    [MAX_NUMBER, 0, generationMismatch(MAX_NUMBER, 2n)],
    [3n, 0, generationMismatch(3n, 2n)],
    [2n, 0, slotMismatch(0, 2)],
    [2n, 1, slotMismatch(1, 2)],
    [2n, 3, slotMismatch(3, 2)],
    [2n, Number.MAX_SAFE_INTEGER, slotMismatch(Number.MAX_SAFE_INTEGER, 2)],
  ];
  for (const [generation, slot, expected] of cases) {
    suite.test(`writeEvent (${generation}, ${slot}) to generation 2 with 2 events fails`, async ({ storage }) => {
      const id = newStreamId();
      await storage.createStreamStorage(id, block(0));
      await storage.writeMiniblocks(
        id,
        [snapshotBlock(1)],
        { generation: 2n, envelopes: [bytes("event 0"), bytes("event 1")] },
        { generation: 1n },
      );
      await assertRefused(
        storage,
        id,
        () => storage.writeEvent(id, generation, slot, bytes("event")),
        { ...expected, operation: "writeEvent" },
      );
      await storage.writeEvent(id, 2n, 2, bytes("event 2"));
    });
  }
}

function testBrokenMinipools(suite: Suite): void {
  const marker = { slot: -1, envelope: null };
  const event = { slot: 0, envelope: bytes("event 0") };
  const broken: [string, PlantedStream["minipool"], ExpectedError][] = [
    ["no rows", [], generationMismatch(2n, undefined)],
    ["an older generation, too", [
      { generation: 1n, ...marker },
      ...minipool(2, 1),
    ], generationMismatch(2n, 1n)],
    ["a newer generation, too", [
      ...minipool(2, 1),
      { generation: 3n, ...marker },
    ], generationMismatch(2n, 3n)],
    ["no marker", [{ generation: 2n, ...event }], slotMismatch(-1, 0)],
  ];
  for (const [kind, rows, expected] of broken) {
    suite.planted(
      `writeEvent to a minipool with ${kind} fails`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, { ...plantedStream(run(0, 1)), minipool: rows });
        await assertFails(
          storage.writeEvent(id, 2n, 1, bytes("event")),
          expected,
        );
      },
    );
  }

  suite.planted(
    "writeEvent ignores a hole further inside the minipool",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const rows = minipool(2, 3).filter(({ slot }) => slot !== 1);
      await plant(id, { ...plantedStream(run(0, 1)), minipool: rows });
      await storage.writeEvent(id, 2n, 3, bytes("event 3"));
      await assertFails(
        storage.writeEvent(id, 2n, 1, bytes("event 1")),
        slotMismatch(1, 4),
      );
    },
  );

  suite.planted(
    "writeEvent accepts a marker of zero length",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        ...plantedStream(run(0, 1)),
        minipool: [{ generation: 2n, slot: -1, envelope: new Uint8Array() }],
      });
      await storage.writeEvent(id, 2n, 0, bytes("event 0"));
      await assertServes(storage, id, {
        blocks: run(0, 1),
        latest: 0n,
        events: ["event 0"],
      });
    },
  );
}

function testCompetition(suite: Suite): void {
  suite.test("writeEvent: exactly one of several writers for one slot wins", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const { succeeded, errors } = await settle(
      run(1, 10).map((n) => storage.writeEvent(id, 1n, 0, bytes(`by ${n}`))),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) assertStorageError(error, slotMismatch(0, 1));
    const view = await storage.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(view.minipoolEnvelopes, [bytes("by 1")]);
  });

  suite.test("writeEvent: a refused call does not disturb its neighbours", async ({ storage }) => {
    const [id, other] = [newStreamId(), newStreamId()];
    await storage.createStreamStorage(id, block(0));
    await storage.createStreamStorage(other, block(0));
    const results = await Promise.allSettled([
      storage.writeEvent(id, 1n, 0, bytes("event 0")),
      storage.writeEvent(newStreamId(), 1n, 0, bytes("unknown")),
      storage.writeEvent(id, 1n, 0, bytes("again")),
      storage.writeEvent(other, 1n, 0, bytes("other 0")),
      storage.writeEvent(id, 1n, 1, bytes("event 1")),
      storage.writeEvent(other, 9n, 1, bytes("other 9")),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status === "fulfilled"),
      [true, false, false, true, true, false],
    );
    const events = ["event 0", "event 1"];
    await assertServes(storage, id, { blocks: [0n], latest: 0n, events });
  });

  suite.test("writeEvent: hundreds of writers over several streams", async ({ storage }) => {
    const ids = run(1, 8).map(() => newStreamId());
    await Promise.all(
      ids.map((id) => storage.createStreamStorage(id, block(0))),
    );
    const slots = run(0, 39).map(Number);
    await Promise.all(
      slots.flatMap((slot) =>
        ids.map((id) =>
          storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`))
        )
      ),
    );
    for (const id of ids) {
      await assertServes(storage, id, {
        blocks: [0n],
        latest: 0n,
        events: slots.map((slot) => `event ${slot}`),
      });
    }
  });
}

function generationMismatch(
  expected: bigint,
  actual: bigint | undefined,
): ExpectedError {
  return {
    code: "DB_OPERATION_FAILURE",
    reason: "minipool_generation_mismatch",
    details: { expected, actual },
  };
}

function slotMismatch(expected: number, actual: number): ExpectedError {
  return {
    code: "DB_OPERATION_FAILURE",
    reason: "minipool_slot_mismatch",
    details: { expected, actual },
  };
}
