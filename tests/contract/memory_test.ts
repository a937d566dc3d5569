/**
 * The contract over the twin in memory, and what this implementation promises
 * besides. The contract itself has to test every operation.
 */
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  MemoryStreamStorage,
  plantMemoryStream,
} from "../../src/memory/memory_stream_storage.ts";
import { operationNames } from "../../src/storage/operations.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import { FAMILIES, streamStorageContract } from "../../src/testing/contract.ts";
import type { Suite } from "../../src/testing/contract/suite.ts";

streamStorageContract(() => {
  const storage = new MemoryStreamStorage();
  return {
    storage,
    plant: (streamId, { orphaned = false, ...rows }) => {
      if (!orphaned) plantMemoryStream(storage, streamId, rows);
    },
    dispose: () => storage.close(),
  };
}, { name: "MemoryStreamStorage" });

describe("The contract", () => {
  it("has tests of each operation, besides those that run all operations", () => {
    const titles: string[] = [];
    const suite: Suite = {
      test: (title) => void titles.push(title),
      planted: (title) => void titles.push(title),
    };
    for (const [family, register] of Object.entries(FAMILIES)) {
      if (family !== "every_operation") register(suite);
    }
    const untested = operationNames().filter((name) =>
      !titles.some((title) => title.includes(name))
    );
    assert.deepEqual(untested, []);
  });
});

describe("MemoryStreamStorage", () => {
  const id = parseStreamId("10".padEnd(64, "0"));
  const genesis = { number: 0n, data: new Uint8Array([1]) };

  it("makes a clone, even when closed, that shares nothing with it", async () => {
    const storage = new MemoryStreamStorage({ partitions: 5 });
    await storage.createStreamStorage(id, genesis);
    await storage.close();
    const clone = storage.clone();
    const other = clone.clone();
    await clone.writeEvent(id, 1n, 0, new Uint8Array([2]));
    await other.deleteStream(id);
    const statistics = await clone.debugReadStreamStatistics(id);
    assert.equal(statistics.minipoolEvents, 1);
    assert.match(statistics.partitionSuffix, /^r0[0-4]$/);
    assert.equal(await other.getStreamsNumber(), 0);
  });

  it("writes before the call returns, and copies the bytes that it is given", async () => {
    const storage = new MemoryStreamStorage();
    const data = new Uint8Array([1]);
    const snapshot = new Uint8Array([2]);
    const hash = new Uint8Array(32);
    const envelope = new Uint8Array([3]);
    const block = { number: 0n, data, snapshot, hash };
    const calls = [
      storage.createStreamStorage(id, block),
      storage.writeMiniblockCandidate(id, { ...block, number: 2n }),
      storage.writeMiniblocks(
        id,
        [{ number: 1n, data }],
        { generation: 2n, envelopes: [envelope] },
        { generation: 1n },
      ),
      storage.writeEvent(id, 2n, 1, envelope),
    ];
    for (const bytes of [data, snapshot, hash, envelope]) bytes.fill(9);
    await Promise.all(calls);
    assert.deepEqual(await storage.debugReadStreamData(id), {
      streamId: id,
      latestSnapshotMiniblockNum: 0n,
      miniblocks: [
        { ...genesis, snapshot: new Uint8Array([2]) },
        { ...genesis, number: 1n },
      ],
      events: [
        { generation: 2n, slot: -1 },
        { generation: 2n, slot: 0, data: new Uint8Array([3]) },
        { generation: 2n, slot: 1, data: new Uint8Array([3]) },
      ],
      miniblockCandidates: [{
        number: 2n,
        data: new Uint8Array([1]),
        snapshot: new Uint8Array([2]),
        hash: new Uint8Array(32),
      }],
    });
  });

  it("refuses a number of partitions that is not a whole number from 1 to 256", () => {
    assert.ok(new MemoryStreamStorage({ partitions: 1 }));
    for (const partitions of [0, 257, 1.5, NaN, "5" as unknown as number]) {
      assert.throws(() => new MemoryStreamStorage({ partitions }), {
        name: "StreamStorageError",
        code: "BAD_CONFIG",
      });
    }
  });
});
