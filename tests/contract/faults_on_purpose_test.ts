/**
 * `withFaults`, mostly around the twin in memory: which error each fault
 * throws, and what is stored then. Without a fault, the wrapped store keeps the
 * contract.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  isStreamStorageError,
  MemoryStreamStorage,
  StreamStorageError,
  type StreamStorageErrorCode,
  type StreamStorageOutcome,
} from "../../mod.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import {
  CORE_FAMILIES,
  type Fault,
  type FaultPlan,
  randomFaults,
  streamStorageContract,
  withFaults,
} from "../../src/testing/mod.ts";
import { openTestStorage } from "../support/storage.ts";

streamStorageContract(() => {
  const storage = withFaults(new MemoryStreamStorage(), () => undefined);
  return { storage, dispose: () => storage.close() };
}, {
  name: "A store without a fault",
  families: CORE_FAMILIES,
  planting: false,
});

const genesis = { number: 0n, data: new Uint8Array([1]) };
const event = new Uint8Array([2]);

/** Plans the fault for the first event only. */
const atFirstEvent = (fault: Fault): FaultPlan => ({ operation, count }) =>
  operation === "writeEvent" && count === 1 ? fault : undefined;

async function errorOf(call: Promise<unknown>): Promise<StreamStorageError> {
  const error = await call.then(() => undefined, (error) => error);
  assert.ok(isStreamStorageError(error), String(error));
  return error;
}

describe("A fault", () => {
  const expected: [
    Fault,
    StreamStorageErrorCode,
    StreamStorageOutcome,
    number,
  ][] = [
    ["unavailable", "UNAVAILABLE", "rolled_back", 0],
    ["deadline", "DEADLINE_EXCEEDED", "rolled_back", 0],
    ["request_lost", "UNAVAILABLE", "unknown", 0],
    ["answer_lost", "UNAVAILABLE", "unknown", 1],
  ];

  for (const [fault, code, outcome, stored] of expected) {
    const end = stored === 0 ? "stores nothing" : "stores the event";
    it(`of the kind ${fault} throws ${code}, ${outcome}, and ${end}`, async () => {
      const twin = new MemoryStreamStorage();
      await using storage = withFaults(twin, atFirstEvent(fault));
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      const error = await errorOf(storage.writeEvent(id, 1n, 0, event));
      assert.equal(error.code, code);
      assert.equal(error.outcome, outcome);
      assert.equal(error.operation, "writeEvent");
      assert.equal(error.retryable, true);
      const { minipoolEvents } = await storage.debugReadStreamStatistics(id);
      assert.equal(minipoolEvents, stored);
      await storage.writeEvent(id, 1n, stored, event);
    });
  }

  it("of a read has no unknown outcome, and reaches streamed reads, too", async () => {
    await using storage = withFaults(
      new MemoryStreamStorage(),
      ({ operation }) =>
        /^(get|stream)/.test(operation) ? "answer_lost" : undefined,
    );
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const read = await errorOf(storage.getLastMiniblockNumber(id));
    assert.equal(read.outcome, "rolled_back");
    const streamed = await errorOf(
      Array.fromAsync(storage.streamMiniblocks(id, 0n, 1n)),
    );
    assert.equal(streamed.operation, "streamMiniblocks");
  });

  it("of the kind ownership_lost ends the store and aborts its signal", async () => {
    await using storage = withFaults(
      new MemoryStreamStorage(),
      atFirstEvent("ownership_lost"),
    );
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    assert.equal(storage.signal.aborted, false);
    const first = await errorOf(storage.writeEvent(id, 1n, 0, event));
    assert.equal(first.code, "RESOURCE_EXHAUSTED");
    assert.equal(first.details.reason, "ownership_lost");
    assert.equal(storage.signal.aborted, true);
    assert.equal(storage.signal.reason.details.reason, "ownership_lost");
    const next = await errorOf(storage.getStreamsNumber());
    assert.equal(next.details.reason, "ownership_lost");
    assert.equal(next.operation, "getStreamsNumber");
  });

  it("can be any error that the plan returns", async () => {
    const own = new StreamStorageError({ code: "INTERNAL", message: "own" });
    await using storage = withFaults(
      new MemoryStreamStorage(),
      atFirstEvent(own),
    );
    const error = await errorOf(
      storage.writeEvent(newStreamId(), 1n, 0, event),
    );
    assert.equal(error.code, "INTERNAL");
    assert.equal(error.operation, "writeEvent");
    assert.equal(own.operation, "");
  });

  it("is chosen by a plan that gets the operation, the stream and the count", async () => {
    const calls: unknown[] = [];
    await using storage = withFaults(new MemoryStreamStorage(), (call) => {
      calls.push(call);
      return undefined;
    });
    const streamId = newStreamId();
    await storage.createStreamStorage(streamId, genesis);
    await storage.getStreams();
    await storage.getStreams();
    assert.deepEqual(calls, [
      { operation: "createStreamStorage", streamId, count: 1 },
      { operation: "getStreams", streamId: undefined, count: 1 },
      { operation: "getStreams", streamId: undefined, count: 2 },
    ]);
  });

  it("reaches an open PostgreSQL store, whose other members stay as they are", async () => {
    await using test = await openTestStorage();
    const storage = withFaults(test.storage, atFirstEvent("answer_lost"));
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    const { outcome } = await errorOf(storage.writeEvent(id, 1n, 0, event));
    assert.equal(outcome, "unknown");
    const { minipoolEvents } = await test.storage.debugReadStreamStatistics(id);
    assert.equal(minipoolEvents, 1);
    assert.equal(storage.schema, test.schema);
    assert.equal(storage.signal.aborted, false);
    assert.ok(storage.metrics().length > 0);
    assert.deepEqual(await storage.maintenance.workers(), []);
  });
});

describe("Random faults", () => {
  const faultsOf = (options: Parameters<typeof randomFaults>[0]) => {
    const plan = randomFaults(options);
    return Array.from(
      { length: 1000 },
      () => plan({ operation: "getStreams", streamId: undefined, count: 1 }),
    );
  };

  it("are the same for the same seed, and differ for another", () => {
    assert.deepEqual(faultsOf({ seed: 7 }), faultsOf({ seed: 7 }));
    assert.notDeepEqual(faultsOf({ seed: 7 }), faultsOf({ seed: 8 }));
  });

  it("occur at the given rate, and are of all kinds or of the given ones", () => {
    const faults = faultsOf({ rate: 0.5 }).filter((fault) =>
      fault !== undefined
    );
    assert.ok(faults.length > 400 && faults.length < 600, `${faults.length}`);
    assert.equal(new Set(faults).size, 4);
    assert.deepEqual(new Set(faultsOf({ rate: 0 })), new Set([undefined]));
    assert.deepEqual(
      new Set(faultsOf({ rate: 1, faults: ["deadline"] })),
      new Set(["deadline"]),
    );
  });
});
