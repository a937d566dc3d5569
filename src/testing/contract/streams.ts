/** Rules that concern several operations or several streams at once. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { operationNames } from "../../storage/operations.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import { callSample } from "../samples.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertServes,
  block,
  blockBy,
  bytes,
  candidate,
  hashOf,
  minipool,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function streamsContract(suite: Suite): void {
  testNeighbours(suite);
  testOrderOfCalls(suite);
  testLeftOvers(suite);
  testOneState(suite);
}

/** More than a few blocks, and more than a few kilobytes. */
function manyBlocks(first: bigint): MiniblockDescriptor[] {
  return run(first, first + 9n).map((number) => ({
    number,
    data: new Uint8Array(20_000).fill(Number(number)),
  }));
}

function testNeighbours(suite: Suite): void {
  suite.test("operations on one stream leave all others as they are", async ({ storage }) => {
    const id = newStreamId();
    const others = run(1, 8).map(() => newStreamId());
    for (const each of [id, ...others]) {
      await storage.createStreamStorage(each, snapshotBlock(0));
      await storage.writeMiniblocks(
        each,
        [block(1), snapshotBlock(2), snapshotBlock(3)],
        { generation: 4n, envelopes: [bytes("event 0")] },
        { generation: 1n, size: 0 },
      );
      for (const number of [4, 5, 20, 99]) {
        await storage.writeMiniblockCandidate(each, candidate(number));
      }
    }
    const read = () =>
      Promise.all(others.map((each) => storage.debugReadStreamData(each)));
    const before = await read();
    await storage.writeEvent(id, 4n, 1, bytes("event 1"));
    await storage.writeMiniblocks(
      id,
      [snapshotBlock(4)],
      { generation: 5n, envelopes: [] },
      { generation: 4n, size: 2 },
    );
    await storage.writeMiniblocks(
      id,
      manyBlocks(5n),
      { generation: 15n, envelopes: [] },
      { generation: 5n, size: 0 },
    );
    await storage.trimStream(id, 2n, [2n]);
    await storage.writePrecedingMiniblocks(id, [block(0)]);
    const given = [snapshotBlock(20), block(21)];
    await storage.reinitializeStreamStorage(id, given, 20n, true);
    await storage.debugDeleteMiniblocks(id, 0n, 20n);
    assert.deepEqual(await read(), before);
    await storage.deleteStream(id);
    assert.deepEqual(await read(), before);
    assert.deepEqual(await storage.getStreams(), others.sort());
  });
}

function testOrderOfCalls(suite: Suite): void {
  suite.test("concurrent calls for one stream run in their order, whatever they are", async ({ storage }) => {
    const id = newStreamId();
    const large = { ...candidate(2, "large"), data: new Uint8Array(100_000) };
    large.data.fill(7);
    await Promise.all([
      storage.createStreamStorage(id, snapshotBlock(0)),
      storage.writeEvent(id, 1n, 0, bytes("event 0")),
      storage.writeMiniblockCandidate(id, candidate(1)),
      storage.writeEvent(id, 1n, 1, bytes("event 1")),
      storage.writeMiniblockCandidate(id, large),
      storage.writeMiniblocks(
        id,
        [snapshotBlock(1)],
        { generation: 2n, envelopes: [bytes("left")] },
        { generation: 1n, size: 2 },
      ),
      storage.writeEvent(id, 2n, 1, bytes("event 1")),
      storage.trimStream(id, 1n, []),
      storage.writeMiniblocks(
        id,
        manyBlocks(2n),
        { generation: 12n, envelopes: [] },
        { generation: 2n, size: 2 },
      ),
      storage.writePrecedingMiniblocks(id, [block(0)]),
      storage.writeEvent(id, 12n, 0, bytes("last")),
    ]);
    await assertServes(storage, id, {
      blocks: run(0, 11),
      latest: 1n,
      events: ["last"],
    });
    await Promise.all([
      storage.deleteStream(id),
      storage.createStreamStorage(id, blockBy(2, 0)),
      storage.writeEvent(id, 1n, 0, bytes("anew")),
    ]);
    await assertServes(storage, id, {
      blocks: [0n],
      latest: 0n,
      events: ["anew"],
    });
  });
}

/** The ways to create a stream, and the blocks that it then has. */
const CREATIONS: Record<
  string,
  [call: (s: StreamStorage, id: StreamId) => Promise<unknown>, bigint[]]
> = {
  createStreamStorage: [(s, id) => s.createStreamStorage(id, block(0)), [0n]],
  createEphemeralStreamStorage: [
    (s, id) => s.createEphemeralStreamStorage(id, block(0)),
    [0n],
  ],
  createStreamArchiveStorage: [(s, id) => s.createStreamArchiveStorage(id), []],
  writeEphemeralMiniblock: [
    (s, id) => s.writeEphemeralMiniblock(id, block(2)),
    [2n],
  ],
  reinitializeStreamStorage: [
    (s, id) => s.reinitializeStreamStorage(id, [snapshotBlock(2)], 2n, false),
    [2n],
  ],
};

/** Left-over rows of all kinds, including some that do not interfere. */
const LEFT_OVERS: PlantedStream[] = [
  {
    ...plantedStream(run(0, 3), { snapshots: [0, 3], events: 1 }),
    candidates: [candidate(5)],
  },
  plantedStream(run(5, 6), { events: "no rows" }),
  { ...plantedStream([]), minipool: minipool(7, 2) },
  { ...plantedStream([], { events: "no rows" }), candidates: [candidate(5)] },
];

function testLeftOvers(suite: Suite): void {
  suite.planted(
    "left-over rows are not a stream for any operation",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, { ...LEFT_OVERS[0]!, orphaned: true });
      for (const operation of operationNames("reads", "writes")) {
        await assertFails(callSample(storage, operation, id), {
          code: "NOT_FOUND",
          reason: "stream_not_found",
          operation,
          details: { streamId: id },
        });
      }
      assert.deepEqual(await storage.getStreams(), []);
    },
  );

  for (const [operation, [call, numbers]] of Object.entries(CREATIONS)) {
    suite.planted(
      `${operation} inherits nothing from left-over rows`,
      async ({ storage, plant }) => {
        for (const rows of LEFT_OVERS) {
          const id = newStreamId("media");
          await plant(id, { ...rows, orphaned: true });
          await call(storage, id);
          const { miniblocks, events, miniblockCandidates } = await storage
            .debugReadStreamData(id);
          assert.deepEqual(miniblocks.map(({ number }) => number), numbers);
          assert.deepEqual(miniblockCandidates, []);
          assert.ok(events.length <= 1);
          for (const { generation, slot } of events) {
            assert.equal(generation, numbers.at(-1)! + 1n);
            assert.equal(slot, -1);
          }
        }
      },
    );
  }
}

function testOneState(suite: Suite): void {
  suite.test("every read returns one state while blocks are written and trimmed", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    let isWriting = true;
    const write = async () => {
      for (const number of run(1, 25)) {
        await Promise.all([
          storage.writeEvent(id, number, 0, bytes(`event of ${number}`)),
          storage.writeMiniblockCandidate(id, candidate(number)),
          storage.writeMiniblocks(
            id,
            [number % 3n === 0n ? snapshotBlock(number) : block(number)],
            { generation: number + 1n, envelopes: [] },
            { generation: number, size: 1 },
          ),
          storage.trimStream(id, number - number % 3n, []),
        ]);
      }
    };
    const reads = async () => {
      while (isWriting) {
        await checkData(storage, id);
        await checkStatistics(storage, id);
      }
    };
    await Promise.all([write().finally(() => (isWriting = false)), reads()]);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      { startInclusive: 24n, endInclusive: 25n, snapshotSeqNums: [24n] },
    ]);
    const hash = hashOf("hash 25");
    await assertFails(storage.readMiniblockCandidate(id, hash, 25n), {
      code: "NOT_FOUND",
    });
  });
}

/** The latest snapshot moves and the minipool changes together with a block. */
async function checkData(storage: StreamStorage, id: StreamId): Promise<void> {
  const data = await storage.debugReadStreamData(id);
  const last = data.miniblocks.at(-1)!.number;
  assert.equal(data.latestSnapshotMiniblockNum, last - last % 3n);
  assert.equal(data.events[0]?.slot, -1);
  for (const { generation } of data.events) assert.equal(generation, last + 1n);
  for (const { number } of data.miniblockCandidates) {
    assert.equal(number, last + 1n);
  }
}

async function checkStatistics(
  storage: StreamStorage,
  id: StreamId,
): Promise<void> {
  const statistics = await storage.debugReadStreamStatistics(id);
  const { miniblockRanges, miniblockCandidates, ...others } = statistics;
  assert.equal(miniblockRanges.length, 1);
  const { endInclusive, snapshotSeqNums } = miniblockRanges[0]!;
  assert.equal(snapshotSeqNums.at(-1), others.latestSnapshotMiniblockNum);
  assert.equal(endInclusive - endInclusive % 3n, snapshotSeqNums.at(-1));
  assert.ok(others.minipoolEvents <= 1);
  for (const { number } of miniblockCandidates) {
    assert.equal(number, endInclusive + 1n);
  }
}
