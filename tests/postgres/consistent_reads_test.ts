/**
 * Reads of more than one statement, on a real server, with a change between the
 * statements. The result is always the state that one statement saw.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockRange } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { PlantedBlock } from "../../src/testing/contract/suite.ts";
import {
  assertFails,
  block,
  bytes,
  candidate,
  legacyBlock,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce, testDatabaseUrl } from "../support/database.ts";
import { plant } from "../support/plant.ts";
import { type Proxy, startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

/** Blocks 0 to 9; 2, 4 and 8 hold a snapshot inside, 9 has one beside it. */
function blocks(): PlantedBlock[] {
  return run(0, 9).map((number) => {
    if (number === 9n) return snapshotBlock(number);
    const isLegacy = number === 2n || number === 4n || number === 8n;
    return readBack(isLegacy ? legacyBlock(number) : block(number));
  });
}

function range(
  startInclusive: bigint,
  endInclusive: bigint,
  snapshotSeqNums: bigint[],
): MiniblockRange {
  return { startInclusive, endInclusive, snapshotSeqNums };
}

describe("A change between the statements of a read", () => {
  let proxy: Proxy;
  let test: TestStreamStorage;
  let storage: PostgresStreamStorage;

  before(async () => {
    proxy = await startProxy(await testDatabaseUrl());
    test = await openTestStorage({
      url: proxy.url,
      // One for reads, which the test holds up, and one for changes, which write.
      maxConnections: 3,
      partitions: 1,
      operationTimeoutMs: 60_000,
    });
    ({ storage } = test);
    // A new connection sends a statement of its own, which must not be counted.
    await storage.getStreamsNumber();
  });
  after(async () => {
    await test[Symbol.asyncDispose]();
    await proxy.close();
  });

  async function plantBlocks(): Promise<StreamId> {
    const id = newStreamId();
    const { schema } = test;
    await plant({ url: await testDatabaseUrl(), schema, partitions: 1 }, id, {
      ...plantedStream(run(0, 9), { latest: 9, events: 2 }),
      blocks: blocks(),
    });
    return id;
  }

  /** Makes the change after the call's first statement, before its second. */
  async function between<T>(
    call: () => Promise<T>,
    change: () => Promise<unknown>,
  ): Promise<T> {
    let binds = 0;
    const reached = Promise.withResolvers<void>();
    const changed = Promise.withResolvers<void>();
    proxy.setRule(({ side, type }) => {
      if (side !== "frontend" || type !== "B" || ++binds !== 2) {
        return "forward";
      }
      reached.resolve();
      return { until: changed.promise };
    });
    const result = call();
    try {
      await Promise.race([reached.promise, result]);
      assert.equal(binds, 2, "There was no second statement");
      await change();
    } finally {
      changed.resolve();
      proxy.setRule(undefined);
    }
    return await result;
  }

  it("that adds blocks does not show in ranges", async () => {
    const id = await plantBlocks();
    const ranges = await between(
      () => storage.getMiniblockNumberRanges(id),
      () =>
        storage.writeMiniblocks(
          id,
          [snapshotBlock(10)],
          { generation: 11n, envelopes: [] },
          { generation: 10n, size: 2 },
        ),
    );
    assert.deepEqual(ranges, [range(0n, 9n, [2n, 4n, 8n, 9n])]);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      range(0n, 10n, [2n, 4n, 8n, 9n, 10n]),
    ]);
  });

  it("that trims the stream shows in ranges", async () => {
    const id = await plantBlocks();
    const ranges = await between(
      () => storage.getMiniblockNumberRanges(id),
      () => storage.trimStream(id, 3n, []),
    );
    assert.deepEqual(ranges, [range(3n, 9n, [4n, 8n, 9n])]);
  });

  it("that removes blocks without a trace makes the call read anew", async () => {
    const id = await plantBlocks();
    const ranges = await between(
      () => storage.getMiniblockNumberRanges(id),
      async () =>
        await queryOnce(
          await testDatabaseUrl(),
          `DELETE FROM "${test.schema}".miniblocks_r00
            WHERE stream_id = '${id}' AND seq_num < 5`,
        ),
    );
    assert.deepEqual(ranges, [range(5n, 9n, [8n, 9n])]);
  });

  it("that writes blocks again with other data makes the call read anew", async () => {
    const id = await plantBlocks();
    const ranges = await between(
      () => storage.getMiniblockNumberRanges(id),
      async () => {
        await storage.deleteStream(id);
        await storage.createStreamStorage(id, legacyBlock(0));
        await storage.writeMiniblocks(
          id,
          run(1, 9).map((n) => n === 4n ? snapshotBlock(n) : block(n)),
          { generation: 10n, envelopes: [] },
          { generation: 1n, size: 0 },
        );
      },
    );
    assert.deepEqual(ranges, [range(0n, 9n, [0n, 4n])]);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), ranges);
  });

  it("that deletes the stream makes ranges and statistics fail with NOT_FOUND", async () => {
    const [id, other] = [await plantBlocks(), await plantBlocks()];
    const notFound = { code: "NOT_FOUND", reason: "stream_not_found" } as const;
    await assertFails(
      between(
        () => storage.getMiniblockNumberRanges(id),
        () => storage.deleteStream(id),
      ),
      notFound,
    );
    await assertFails(
      between(
        () => storage.debugReadStreamStatistics(other),
        () => storage.deleteStream(other),
      ),
      notFound,
    );
  });

  it("that swaps the minipool does not show in statistics", async () => {
    const id = await plantBlocks();
    const proposed = candidate(10);
    await storage.writeMiniblockCandidate(id, proposed);
    const statistics = await between(
      () => storage.debugReadStreamStatistics(id),
      () =>
        storage.writeMiniblocks(
          id,
          [snapshotBlock(10)],
          { generation: 11n, envelopes: [bytes("left")] },
          { generation: 10n, size: 2 },
        ),
    );
    assert.deepEqual(statistics, {
      streamId: id,
      latestSnapshotMiniblockNum: 9n,
      miniblockRanges: [range(0n, 9n, [2n, 4n, 8n, 9n])],
      miniblockCandidates: [{ number: 10n, hash: proposed.hash }],
      minipoolEvents: 2,
      partitionSuffix: "r00",
    });
  });

  /** Deletes a block before each of the first `times` reads of a page of data. */
  function deleteAtEachLook(id: StreamId, times: bigint): void {
    let from = 0n;
    // The parameter that is the size of a page: 1 MB.
    const pageBytes = new Uint8Array([0, 0, 0, 8, 0, 0, 0, 0, 0, 16, 0, 0]);
    proxy.setRule(({ side, type, bytes }) => {
      const isLook = side === "frontend" && type === "B" &&
        bytes.includes(pageBytes);
      return isLook && from < times
        ? { until: storage.debugDeleteMiniblocks(id, from, ++from) }
        : "forward";
    });
  }

  it("that is repeated makes the call read again each time", async () => {
    const id = await plantBlocks();
    deleteAtEachLook(id, 8n);
    try {
      const ranges = await storage.getMiniblockNumberRanges(id);
      assert.deepEqual(ranges, [range(8n, 9n, [8n, 9n])]);
    } finally {
      proxy.setRule(undefined);
    }
  });

  it("that never ends makes the call give up with stream_changed", async () => {
    const id = await plantBlocks();
    const given = [...run(10, 28).map((n) => block(n)), snapshotBlock(29)];
    await storage.reinitializeStreamStorage(id, given, 29n, true);
    const ranges = () => storage.getMiniblockNumberRanges(id);
    deleteAtEachLook(id, 99n);
    try {
      await assertFails(ranges(), {
        code: "DB_OPERATION_FAILURE",
        reason: "stream_changed",
        operation: "getMiniblockNumberRanges",
      });
    } finally {
      proxy.setRule(undefined);
    }
    const [{ startInclusive, snapshotSeqNums } = range(0n, 0n, [])] =
      await ranges();
    assert.deepEqual([startInclusive, snapshotSeqNums], [10n, [29n]]);
  });
});
