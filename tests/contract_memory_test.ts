import { describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  MemoryStreamStorage,
  plantMemoryStream,
} from "../src/memory/memory_stream_storage.ts";
import { parseStreamId } from "../src/storage/stream_id.ts";
import { streamStorageContract } from "../src/testing/contract.ts";

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

describe("MemoryStreamStorage", () => {
  const id = parseStreamId("10".repeat(32));
  const genesis = { number: 0n, data: new Uint8Array([1]) };

  it("clones its content, which then goes its own way", async () => {
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

  it("takes effect within the call and copies what it is given", async () => {
    const storage = new MemoryStreamStorage();
    const data = new Uint8Array([1]);
    const creating = storage.createStreamStorage(id, { number: 0n, data });
    data.fill(9);
    const reading = storage.readMiniblocks(id, 0n, 1n);
    await creating;
    assert.deepEqual((await reading).miniblocks, [genesis]);
  });

  it("refuses a bad number of partitions", () => {
    for (const partitions of [0, 257, 1.5, NaN, "5" as unknown as number]) {
      assert.throws(() => new MemoryStreamStorage({ partitions }), {
        name: "StreamStorageError",
        code: "BAD_CONFIG",
      });
    }
  });
});
