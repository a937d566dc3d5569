/** trimStream. */
import assert from "node:assert/strict";
import { BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertRefused,
  assertStorageError,
  block,
  candidate,
  contentOf,
  type ExpectedError,
  legacyBlock,
  MAX_NUMBER,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function trimmingContract(suite: Suite): void {
  testFaultyCalls(suite, "trimStream", [
    ...faultsOf(
      "trimToMbExclusive",
      BAD_NUMBERS,
      (storage, number) => storage.trimStream(newStreamId(), number, []),
    ),
    ...faultsOf(
      "nullifySnapshotMbs[1]",
      BAD_NUMBERS,
      (storage, number) => storage.trimStream(newStreamId(), 0n, [1n, number]),
    ),
    {
      fault: "no list",
      argument: "nullifySnapshotMbs",
      call: (storage) =>
        storage.trimStream(newStreamId(), 0n, 1n as unknown as bigint[]),
    },
  ]);
  testRefusals(suite);
  testEffect(suite);
  testTrimmingCorners(suite);
  testTrimmingDuringReads(suite);
}

function testRefusals(suite: Suite): void {
  const above: ExpectedError = {
    code: "INVALID_ARGUMENT",
    reason: "above_latest_snapshot",
  };
  const latest: ExpectedError = {
    code: "INVALID_ARGUMENT",
    reason: "latest_snapshot_protected",
  };
  const cases: [to: bigint, list: bigint[], ExpectedError][] = [
    [7n, [], above],
    [MAX_NUMBER, [], above],
    [0n, [6n], latest],
    [6n, [4n, 6n], latest],
    [7n, [6n], above],
  ];
  for (const [to, list, expected] of cases) {
    suite.planted(
      `trimStream(${to}, [${list}]) of snapshot 6 fails`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        const snapshots = [2, 4, 6];
        await plant(id, plantedStream(run(0, 9), { snapshots, events: 1 }));
        await assertRefused(
          storage,
          id,
          () => storage.trimStream(id, to, list),
          { ...expected, operation: "trimStream" },
        );
      },
    );
  }

  suite.planted(
    "trimStream of a stream whose latest snapshot is 0",
    async ({ storage, plant }) => {
      for (const latestSnapshot of [0n, -1n]) {
        const id = newStreamId();
        await plant(id, { ...plantedStream(run(0, 3)), latestSnapshot });
        await assertRefused(
          storage,
          id,
          () => storage.trimStream(id, 1n, []),
          above,
        );
        await assertRefused(
          storage,
          id,
          () => storage.trimStream(id, 0n, [0n]),
          latest,
        );
        await storage.trimStream(id, 0n, [1n, 2n]);
      }
    },
  );
}

function testEffect(suite: Suite): void {
  const rows = {
    ...plantedStream(run(0, 9), { snapshots: [0, 2, 4, 6], events: 2 }),
    candidates: [candidate(20)],
  };
  const cases: [bigint, bigint[], blocks: bigint[], snapshots: bigint[]][] = [
    [0n, [], run(0, 9), [0n, 2n, 4n, 6n]],
    [3n, [], run(3, 9), [4n, 6n]],
    [6n, [], run(6, 9), [6n]],
    [0n, [0n, 4n], run(0, 9), [2n, 6n]],
    [2n, [0n, 2n, 3n, 99n, MAX_NUMBER], run(2, 9), [4n, 6n]],
    [2n, [4n, 4n], run(2, 9), [2n, 6n]],
  ];
  for (const [to, list, blocks, snapshots] of cases) {
    suite.planted(
      `trimStream(${to}, [${list}]) of 0..9`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        await storage.trimStream(id, to, list);
        await storage.trimStream(id, to, list);
        const { view, ranges } = await contentOf(storage, id);
        assert.deepEqual(
          view.miniblocks,
          blocks.map((number) =>
            snapshots.includes(number) ? snapshotBlock(number) : block(number)
          ),
        );
        assert.equal(
          BigInt(view.snapshotMiniblockOffset),
          6n - (blocks[0] ?? 0n),
        );
        assert.equal(view.minipoolEnvelopes.length, 2);
        assert.deepEqual(ranges.map((range) => range.snapshotSeqNums), [
          snapshots,
        ]);
        assert.equal(await storage.getMiniblockCandidateCount(id, 20n), 1);
      },
    );
  }
}

function testTrimmingCorners(suite: Suite): void {
  suite.planted(
    "trimStream leaves legacy snapshots as they are",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const both = {
        ...readBack(legacyBlock(2)),
        snapshot: new Uint8Array([1]),
      };
      await plant(id, {
        ...plantedStream(run(0, 4), { snapshots: [4] }),
        blocks: [
          block(0),
          readBack(legacyBlock(1)),
          both,
          block(3),
          snapshotBlock(4),
        ],
      });
      await storage.trimStream(id, 0n, [1n, 2n]);
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 5n);
      assert.deepEqual(miniblocks[1], readBack(legacyBlock(1)));
      assert.deepEqual(miniblocks[2], readBack(legacyBlock(2)));
      const [range] = await storage.getMiniblockNumberRanges(id);
      assert.deepEqual(range?.snapshotSeqNums, [1n, 2n, 4n]);
    },
  );

  suite.planted("trimStream across a gap", async ({ storage, plant }) => {
    const id = newStreamId();
    const numbers = [...run(0, 3), ...run(10, 14)];
    await plant(id, plantedStream(numbers, { snapshots: [0, 12] }));
    await storage.trimStream(id, 11n, []);
    const [range, ...others] = await storage.getMiniblockNumberRanges(id);
    assert.deepEqual(others, []);
    assert.equal(range?.startInclusive, 11n);
    assert.equal(range?.endInclusive, 14n);
  });
}

function testTrimmingDuringReads(suite: Suite): void {
  suite.planted(
    "streamMiniblocks skips nothing when it is trimmed meanwhile",
    async ({ storage, plant }) => {
      const id = newStreamId();
      // More blocks than a page may be expected to have.
      const last = 2499n;
      await plant(id, plantedStream(run(0, last), { snapshots: [last] }));
      const numbers: bigint[] = [];
      const blocks = storage.streamMiniblocks(id, 0n, last + 1n);
      try {
        for await (const { number } of blocks) {
          if (number === 0n) await storage.trimStream(id, last, []);
          numbers.push(number);
        }
        assert.equal(numbers.length, 2500);
      } catch (error) {
        assertStorageError(error, {
          code: "MINIBLOCKS_NOT_FOUND",
          reason: "miniblock_gap",
          details: { expected: BigInt(numbers.length), actual: last },
        });
      }
      assert.deepEqual(numbers, run(0, numbers.length - 1));
    },
  );
}
