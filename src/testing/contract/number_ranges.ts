/** getMiniblockNumberRanges. */
import assert from "node:assert/strict";
import type { MiniblockRange } from "../../storage/model.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  block,
  legacyBlock,
  MAX_NUMBER,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "./support.ts";

const NUMBER_RANGES: [string, PlantedStream, MiniblockRange[]][] = [
  ["no blocks", plantedStream([], { events: "no rows" }), []],
  ["one run", plantedStream(run(0, 4), { snapshots: [0, 3] }), [
    range(0n, 4n, [0n, 3n]),
  ]],
  [
    "several runs",
    plantedStream([...run(0, 2), ...run(10, 15), 20n], {
      snapshots: [2, 10, 15],
    }),
    [range(0n, 2n, [2n]), range(10n, 15n, [10n, 15n]), range(20n, 20n, [])],
  ],
  ["all kinds of snapshots", {
    ...plantedStream(run(7, 10)),
    blocks: [
      { ...block(7), snapshot: new Uint8Array() },
      readBack(legacyBlock(8)),
      { ...block(9), snapshot: null },
      { ...readBack(legacyBlock(10)), snapshot: new Uint8Array([1]) },
    ],
  }, [range(7n, 10n, [8n, 10n])]],
  ["data that is no message", {
    ...plantedStream(run(0, 4)),
    blocks: run(0, 4).map((number) => ({
      number,
      data: hostileData(Number(number)),
    })),
  }, [range(0n, 4n, [])]],
  [
    "large numbers",
    plantedStream([0n, MAX_NUMBER - 1n, MAX_NUMBER], { events: "no rows" }),
    [
      range(0n, 0n, []),
      range(MAX_NUMBER - 1n, MAX_NUMBER, []),
    ],
  ],
];

/** Registers the tests. */
export function numberRangesContract(suite: Suite): void {
  for (const [name, rows, expected] of NUMBER_RANGES) {
    suite.planted(
      `getMiniblockNumberRanges of a stream with ${name}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        assert.deepEqual(await storage.getMiniblockNumberRanges(id), expected);
        assert.deepEqual(await storage.getMiniblockNumberRanges(id), expected);
      },
    );
  }

  suite.test("getMiniblockNumberRanges follows what is written", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, legacyBlock(0));
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      range(0n, 0n, [0n]),
    ]);
    await storage.writeMiniblocks(
      id,
      [block(1), legacyBlock(2), snapshotBlock(3)],
      { generation: 4n, envelopes: [] },
      { generation: 1n },
    );
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      range(0n, 3n, [0n, 2n, 3n]),
    ]);
    await storage.deleteStream(id);
    await storage.createStreamStorage(id, block(0));
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      range(0n, 0n, []),
    ]);
  });

  suite.planted(
    "getMiniblockNumberRanges notices a removed block that returns with other data",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const ranges = () => storage.getMiniblockNumberRanges(id);
      await plant(id, {
        ...plantedStream(run(4, 6), { snapshots: [6] }),
        blocks: [block(4), readBack(legacyBlock(5)), snapshotBlock(6)],
      });
      assert.deepEqual(await ranges(), [range(4n, 6n, [5n, 6n])]);
      await storage.trimStream(id, 6n, []);
      assert.deepEqual(await ranges(), [range(6n, 6n, [6n])]);
      await storage.writePrecedingMiniblocks(id, [legacyBlock(4), block(5)]);
      assert.deepEqual(await ranges(), [range(4n, 6n, [4n, 6n])]);
      await storage.debugDeleteMiniblocks(id, 4n, 5n);
      await storage.writePrecedingMiniblocks(id, [block(4)]);
      assert.deepEqual(await ranges(), [range(4n, 6n, [6n])]);
    },
  );

  suite.planted(
    "getMiniblockNumberRanges reads the new genesis of a repaired stream",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const ranges = () => storage.getMiniblockNumberRanges(id);
      await plant(id, {
        ...plantedStream([0n]),
        blocks: [{ number: 0n, data: new Uint8Array() }],
      });
      assert.deepEqual(await ranges(), [range(0n, 0n, [])]);
      await storage.createStreamStorage(id, legacyBlock(0));
      assert.deepEqual(await ranges(), [range(0n, 0n, [0n])]);
    },
  );
}

function range(
  startInclusive: bigint,
  endInclusive: bigint,
  snapshotSeqNums: bigint[],
): MiniblockRange {
  return { startInclusive, endInclusive, snapshotSeqNums };
}

/** A legacy block, broken in one of five ways. */
function hostileData(kind: number): Uint8Array {
  const { data } = legacyBlock(1);
  switch (kind) {
    case 0:
      return data.slice(0, -1);
    case 1:
      return new Uint8Array(100).fill(0xff);
    case 2:
      return new Uint8Array([0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    case 3:
      return new Uint8Array(5000).fill(0x13);
    default:
      return new Uint8Array([0]);
  }
}
