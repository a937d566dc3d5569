/** writePrecedingMiniblocks. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamStorage } from "../../storage/stream_storage.ts";
import {
  BAD_DATA,
  BAD_NUMBERS,
  faultsOf,
  type FaultyCall,
  testFaultyCalls,
} from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertRefused,
  block,
  bytes,
  candidate,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function precedingContract(suite: Suite): void {
  testPrecedingArguments(suite);
  testPreceding(suite);
}

/** Lists of blocks that this and reinitializeStreamStorage refuse. */
export function listFaults(
  call: (
    storage: StreamStorage,
    miniblocks: MiniblockDescriptor[],
  ) => Promise<unknown>,
): FaultyCall[] {
  return [
    ...faultsOf(
      "miniblocks[0].number",
      BAD_NUMBERS,
      (storage, number) => call(storage, [{ ...snapshotBlock(0), number }]),
    ),
    ...faultsOf(
      "miniblocks[1].data",
      BAD_DATA,
      (storage, data) =>
        call(storage, [snapshotBlock(0), { number: 1n, data }]),
    ),
    {
      fault: "no blocks",
      argument: "miniblocks",
      reason: "empty_miniblock_list",
      call: (storage) => call(storage, []),
    },
    {
      fault: "a gap",
      argument: "miniblocks[1].number",
      reason: "miniblocks_not_consecutive",
      call: (storage) => call(storage, [snapshotBlock(0), block(2)]),
    },
    {
      fault: "descending numbers",
      argument: "miniblocks[1].number",
      reason: "miniblocks_not_consecutive",
      call: (storage) => call(storage, [snapshotBlock(1), snapshotBlock(0)]),
    },
    {
      fault: "no legacy snapshot in the data",
      argument: "miniblocks[0].hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) =>
        call(storage, [{ ...snapshotBlock(0), hasLegacySnapshot: true }]),
    },
  ];
}

function testPrecedingArguments(suite: Suite): void {
  testFaultyCalls(
    suite,
    "writePrecedingMiniblocks",
    listFaults((storage, miniblocks) =>
      storage.writePrecedingMiniblocks(newStreamId(), miniblocks)
    ),
  );

  suite.planted(
    "writePrecedingMiniblocks must end below the last block",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(5, 9), { snapshots: [5] }));
      for (const end of [9n, 10n]) {
        await assertRefused(
          storage,
          id,
          () => storage.writePrecedingMiniblocks(id, [block(end)]),
          {
            code: "INVALID_ARGUMENT",
            reason: "not_below_last",
            operation: "writePrecedingMiniblocks",
            details: { lastMiniblockInStorage: 9n, expected: end, actual: 9n },
          },
        );
      }
    },
  );

  suite.planted(
    "writePrecedingMiniblocks needs a stored block",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([], { events: "no rows" }));
      await assertFails(storage.writePrecedingMiniblocks(id, [block(0)]), {
        code: "FAILED_PRECONDITION",
        reason: "no_miniblocks",
      });
    },
  );
}

function testPreceding(suite: Suite): void {
  suite.planted(
    "writePrecedingMiniblocks adds only the missing blocks",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const rows = plantedStream([2n, ...run(5, 9)], {
        snapshots: [6],
        events: 2,
      });
      await plant(id, { ...rows, candidates: [candidate(20)] });
      const before = await storage.readStreamFromLastSnapshot(id, 0);
      const given = run(0, 5).map((number) => ({
        number,
        data: bytes(`given ${number}`),
        snapshot: bytes(`given snapshot ${number}`),
      }));
      await storage.writePrecedingMiniblocks(id, given);
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 99n);
      assert.deepEqual(miniblocks, [
        ...given.slice(0, 2),
        block(2),
        ...given.slice(3, 5),
        block(5),
        snapshotBlock(6),
        ...run(7, 9).map((n) => block(n)),
      ]);
      assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
        {
          startInclusive: 0n,
          endInclusive: 9n,
          snapshotSeqNums: [0n, 1n, 3n, 4n, 6n],
        },
      ]);
      assert.deepEqual(await storage.readStreamFromLastSnapshot(id, 0), before);
      assert.equal(await storage.getMiniblockCandidateCount(id, 20n), 1);
    },
  );

  suite.planted(
    "writePrecedingMiniblocks may leave gaps",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(5, 9), { snapshots: [5] }));
      await storage.writePrecedingMiniblocks(id, [block(1), block(2)]);
      const runs = (await storage.getMiniblockNumberRanges(id))
        .map((range) => [range.startInclusive, range.endInclusive]);
      assert.deepEqual(runs, [[1n, 2n], [5n, 9n]]);
    },
  );
}
