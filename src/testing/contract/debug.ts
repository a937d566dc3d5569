/** debugReadStreamData, debugReadStreamStatistics, debugDeleteMiniblocks. */
import assert from "node:assert/strict";
import { BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertOwnBytes,
  block,
  bytes,
  candidate,
  legacyBlock,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function debugContract(suite: Suite): void {
  testFaultyCalls(suite, "debugDeleteMiniblocks", [
    ...faultsOf(
      "fromInclusive",
      BAD_NUMBERS,
      (storage, from) => storage.debugDeleteMiniblocks(newStreamId(), from, 5n),
    ),
    ...faultsOf(
      "toExclusive",
      BAD_NUMBERS,
      (storage, to) => storage.debugDeleteMiniblocks(newStreamId(), 0n, to),
    ),
    {
      fault: "from > to",
      argument: "toExclusive",
      reason: "range_reversed",
      call: (storage) => storage.debugDeleteMiniblocks(newStreamId(), 2n, 1n),
    },
  ]);
  testReading(suite);
  testStatistics(suite);
  testReadingDetails(suite);
  testDeleting(suite);
}

/** A stream with rows of every kind. */
const EVERYTHING: PlantedStream = {
  latestSnapshot: 11n,
  blocks: [
    snapshotBlock(0),
    { ...block(1), snapshot: null },
    { ...block(10), snapshot: new Uint8Array() },
    readBack(legacyBlock(11)),
    { number: 12n, data: new Uint8Array() },
  ],
  minipool: [
    { generation: 13n, slot: -1, envelope: null },
    { generation: 13n, slot: 0, envelope: bytes("event 0") },
    { generation: 13n, slot: 2, envelope: bytes("event 2") },
    { generation: 14n, slot: -1, envelope: new Uint8Array() },
  ],
  candidates: [
    { ...candidate(13, "a"), snapshot: bytes("snapshot") },
    { ...candidate(13, "b"), snapshot: null },
    candidate(15, "a"),
  ],
};

function testReading(suite: Suite): void {
  suite.planted(
    "debugReadStreamData returns everything stored",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, EVERYTHING);
      assert.deepEqual(await storage.debugReadStreamData(id), {
        streamId: id,
        latestSnapshotMiniblockNum: 11n,
        miniblocks: [
          snapshotBlock(0),
          block(1),
          block(10),
          readBack(legacyBlock(11)),
          { number: 12n, data: new Uint8Array() },
        ],
        events: [
          { generation: 13n, slot: -1 },
          { generation: 13n, slot: 0, data: bytes("event 0") },
          { generation: 13n, slot: 2, data: bytes("event 2") },
          { generation: 14n, slot: -1 },
        ],
        miniblockCandidates: [
          { ...candidate(13, "a"), snapshot: bytes("snapshot") },
          candidate(13, "b"),
          candidate(15, "a"),
        ],
      });
    },
  );
}

function testStatistics(suite: Suite): void {
  suite.planted(
    "debugReadStreamStatistics counts everything stored",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, EVERYTHING);
      const { partitionSuffix, ...statistics } = await storage
        .debugReadStreamStatistics(id);
      assert.match(partitionSuffix, /^r[0-9a-f]{2}$/);
      assert.deepEqual(statistics, {
        streamId: id,
        latestSnapshotMiniblockNum: 11n,
        miniblockRanges: [
          { startInclusive: 0n, endInclusive: 1n, snapshotSeqNums: [0n] },
          { startInclusive: 10n, endInclusive: 12n, snapshotSeqNums: [11n] },
        ],
        miniblockCandidates: ([[13, "a"], [13, "b"], [15, "a"]] as const)
          .map(([number, hash]) => ({
            number: BigInt(number),
            hash: candidate(number, hash).hash,
          })),
        minipoolEvents: 2,
      });
    },
  );

  suite.test("debug reads list candidates by number and hash, with bytes of their own", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(id, 1n, 0, bytes("event 0"));
    const sorted = [candidate(2, "a"), candidate(2, "b"), candidate(10, "a")];
    for (const index of [2, 1, 0]) {
      const each = sorted[index] ?? candidate(0);
      await storage.writeMiniblockCandidate(id, each);
    }
    const data = await storage.debugReadStreamData(id);
    assert.deepEqual(data.miniblockCandidates, sorted);
    const statistics = await storage.debugReadStreamStatistics(id);
    assert.deepEqual(
      statistics.miniblockCandidates,
      sorted.map(({ number, hash }) => ({ number, hash })),
    );
    await assertOwnBytes(() => storage.debugReadStreamData(id));
    await assertOwnBytes(() => storage.debugReadStreamStatistics(id));
  });
}

function testReadingDetails(suite: Suite): void {
  suite.planted(
    "debug reads return an old latest snapshot of -1 as 0",
    async ({ storage, plant }) => {
      const id = newStreamId("media");
      await plant(id, { ...plantedStream([0n]), latestSnapshot: -1n });
      const data = await storage.debugReadStreamData(id);
      assert.equal(data.latestSnapshotMiniblockNum, 0n);
      const statistics = await storage.debugReadStreamStatistics(id);
      assert.equal(statistics.latestSnapshotMiniblockNum, 0n);
      assert.match(statistics.partitionSuffix, /^m[0-9a-f]{2}$/);
    },
  );
}

function testDeleting(suite: Suite): void {
  const cases: [from: bigint, to: bigint, left: bigint[]][] = [
    [0n, 0n, run(0, 5)],
    [2n, 4n, [0n, 1n, 4n, 5n]],
    [4n, 99n, run(0, 3)],
    [0n, 2n ** 63n - 1n, []],
  ];
  for (const [from, to, left] of cases) {
    suite.planted(
      `debugDeleteMiniblocks(${from}, ${to}) of 0..5`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(
          id,
          plantedStream(run(0, 5), { snapshots: [3], events: 1 }),
        );
        await storage.debugDeleteMiniblocks(id, from, to);
        const data = await storage.debugReadStreamData(id);
        assert.deepEqual(data.miniblocks.map(({ number }) => number), left);
        assert.equal(data.latestSnapshotMiniblockNum, 3n);
        assert.equal(data.events.length, 2);
      },
    );
  }

  suite.test("a deleted tail breaks the stream until it is rebuilt", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeMiniblocks(
      id,
      [block(1), snapshotBlock(2)],
      { generation: 3n, envelopes: [] },
      { generation: 1n },
    );
    await storage.debugDeleteMiniblocks(id, 2n, 3n);
    await assertFails(storage.readStreamFromLastSnapshot(id, 0), {
      code: "INTERNAL",
      reason: "snapshot_outside_last_run",
    });
    const given = [snapshotBlock(2), block(3)];
    await storage.reinitializeStreamStorage(id, given, 2n, true);
    const view = await storage.readStreamFromLastSnapshot(id, 0);
    assert.deepEqual(view.miniblocks, given);
  });
}
