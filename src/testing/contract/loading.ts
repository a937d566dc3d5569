/** readStreamFromLastSnapshot. */
import assert from "node:assert/strict";
import { BAD_COUNTS, faultsOf, testFaultyCalls } from "./common.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  block,
  bytes,
  type ExpectedError,
  legacyBlock,
  MAX_NUMBER,
  minipool,
  newStreamId,
  plantedStream,
  readBack,
  run,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function loadingContract(suite: Suite): void {
  testFaultyCalls(
    suite,
    "readStreamFromLastSnapshot",
    faultsOf(
      "numPrecedingMiniblocks",
      BAD_COUNTS,
      (storage, count) =>
        storage.readStreamFromLastSnapshot(newStreamId(), count),
    ),
  );
  testViews(suite);
  testContent(suite);
  testBroken(suite);
  testConsistency(suite);
}

const GAPPED = [...run(0, 2), ...run(10, 15)];
const AT_0 = plantedStream(run(0, 3), { snapshots: [0] });
const AT_5 = plantedStream(run(0, 9), { snapshots: [0, 5] });
const AT_12 = plantedStream(GAPPED, { snapshots: [0, 12] });
const AT_102 = plantedStream(run(100, 104), { snapshots: [102] });
const LARGE = plantedStream(run(MAX_NUMBER - 3n, MAX_NUMBER - 1n), {
  snapshots: [MAX_NUMBER - 2n],
});

/** Stored, blocks requested before the snapshot, first returned, offset. */
const VIEWS: [string, PlantedStream, number, bigint, number][] = [
  ["0..3, snapshot 0", AT_0, 0, 0n, 0],
  ["0..3, snapshot 0", AT_0, 7, 0n, 0],
  ["0..9, snapshot 5", AT_5, 0, 5n, 0],
  ["0..9, snapshot 5", AT_5, 2, 3n, 2],
  ["0..9, snapshot 5", AT_5, 5, 0n, 5],
  ["0..9, snapshot 5", AT_5, Number.MAX_SAFE_INTEGER, 0n, 5],
  ["0..2 10..15, snapshot 12", AT_12, 0, 12n, 0],
  ["0..2 10..15, snapshot 12", AT_12, 1, 11n, 1],
  ["0..2 10..15, snapshot 12", AT_12, 2, 10n, 2],
  ["0..2 10..15, snapshot 12", AT_12, 3, 10n, 2],
  ["0..2 10..15, snapshot 12", AT_12, 11, 10n, 2],
  ["100..104, snapshot 102", AT_102, 1, 101n, 1],
  ["100..104, snapshot 102", AT_102, 50, 100n, 2],
  ["0..3, snapshot -1", { ...AT_0, latestSnapshot: -1n }, 3, 0n, 0],
  ["large numbers", LARGE, 0, MAX_NUMBER - 2n, 0],
  ["large numbers", LARGE, 9, MAX_NUMBER - 3n, 1],
];

function testViews(suite: Suite): void {
  for (const [name, rows, preceding, first, offset] of VIEWS) {
    suite.planted(
      `readStreamFromLastSnapshot(${preceding}) of ${name}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        assert.deepEqual(
          await storage.readStreamFromLastSnapshot(id, preceding),
          {
            snapshotMiniblockOffset: offset,
            miniblocks: rows.blocks.filter(({ number }) => number >= first),
            minipoolEnvelopes: [],
          },
        );
      },
    );
  }
}

function testContent(suite: Suite): void {
  suite.planted(
    "readStreamFromLastSnapshot returns snapshots and events",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        latestSnapshot: 3n,
        blocks: [
          snapshotBlock(0),
          { ...block(1), snapshot: null },
          { ...block(2), snapshot: new Uint8Array() },
          readBack(legacyBlock(3)),
        ],
        minipool: minipool(4, 3),
      });
      assert.deepEqual(await storage.readStreamFromLastSnapshot(id, 9), {
        snapshotMiniblockOffset: 3,
        miniblocks: [
          snapshotBlock(0),
          block(1),
          block(2),
          readBack(legacyBlock(3)),
        ],
        minipoolEnvelopes: [0, 1, 2].map((slot) => bytes(`event ${slot}`)),
      });
    },
  );

  const without: [string, PlantedStream][] = [
    [
      "an ephemeral stream",
      plantedStream(run(0, 2), { ephemeral: true, events: "no rows" }),
    ],
    ["an archive stream", plantedStream(run(0, 2), { events: "no rows" })],
  ];
  for (const [name, rows] of without) {
    suite.planted(
      `readStreamFromLastSnapshot of ${name} has no events`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        assert.deepEqual(await storage.readStreamFromLastSnapshot(id, 0), {
          snapshotMiniblockOffset: 0,
          miniblocks: rows.blocks,
          minipoolEnvelopes: [],
        });
      },
    );
  }
}

const EMPTY = new Uint8Array();

/** Streams that can't be loaded, and how each fails. */
const BROKEN: [string, PlantedStream, ExpectedError][] = [
  ["no blocks", plantedStream([], { events: "no rows" }), {
    code: "NOT_FOUND",
    reason: "corrupt_stream",
  }],
  ["an empty genesis", {
    ...plantedStream([0n]),
    blocks: [{ number: 0n, data: EMPTY }],
  }, { code: "NOT_FOUND", reason: "corrupt_stream" }],
  ["an empty block", {
    ...plantedStream(run(0, 3)),
    blocks: [block(0), block(1), { number: 2n, data: EMPTY }, block(3)],
  }, { code: "NOT_FOUND", reason: "corrupt_stream" }],
  [
    "a gap after the latest snapshot",
    plantedStream([...run(0, 3), 5n], { snapshots: [2] }),
    outsideLastRun(2n, 5n),
  ],
  [
    "a latest snapshot in a gap",
    plantedStream(GAPPED, { latest: 5 }),
    outsideLastRun(5n, 15n),
  ],
  [
    "a latest snapshot before the first block",
    plantedStream(run(100, 102)),
    outsideLastRun(0n, 102n),
  ],
  [
    "a latest snapshot after the last block",
    plantedStream(run(0, 2), { latest: 3 }),
    outsideLastRun(3n, 2n),
  ],
  ["an older minipool", {
    ...plantedStream(run(0, 2)),
    minipool: minipool(2, 1),
  }, badMinipool("minipool_generation_mismatch", 3n, 2n)],
  ["a newer minipool", {
    ...plantedStream(run(0, 2)),
    minipool: minipool(4, 1),
  }, badMinipool("minipool_generation_mismatch", 3n, 4n)],
  ["two minipools", {
    ...plantedStream(run(0, 2)),
    minipool: [...minipool(3, 1), ...minipool(4, 0)],
  }, badMinipool("minipool_generation_mismatch", 3n, 4n)],
  ["a hole in the minipool", {
    ...plantedStream(run(0, 2)),
    minipool: minipool(3, 4).filter(({ slot }) => slot !== 2),
  }, badMinipool("minipool_hole", 2, 3)],
  ["no marker in the minipool", {
    ...plantedStream(run(0, 2)),
    minipool: minipool(3, 2).slice(1),
  }, badMinipool("minipool_hole", -1, 0)],
];

function outsideLastRun(
  latestSnapshot: bigint,
  lastMiniblockInStorage: bigint,
): ExpectedError {
  return {
    code: "INTERNAL",
    reason: "snapshot_outside_last_run",
    details: { latestSnapshot, lastMiniblockInStorage },
  };
}

function badMinipool(
  reason: string,
  expected: unknown,
  actual: unknown,
): ExpectedError {
  return {
    code: "MINIBLOCKS_STORAGE_FAILURE",
    reason,
    details: { expected, actual },
  };
}

function testBroken(suite: Suite): void {
  for (const [name, rows, expected] of BROKEN) {
    suite.planted(
      `readStreamFromLastSnapshot of a stream with ${name} fails`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        for (const preceding of [0, 1]) {
          await assertFails(
            storage.readStreamFromLastSnapshot(id, preceding),
            { ...expected, operation: "readStreamFromLastSnapshot" },
          );
        }
      },
    );
  }

  suite.planted(
    "an empty block before the returned run does no harm",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const rows = plantedStream([0n, ...run(2, 4)], { snapshots: [3] });
      rows.blocks[0] = { number: 0n, data: EMPTY };
      await plant(id, rows);
      const view = await storage.readStreamFromLastSnapshot(id, 9);
      assert.deepEqual(view.miniblocks.map(({ number }) => number), run(2, 4));
    },
  );
}

function testConsistency(suite: Suite): void {
  suite.test("a read returns one consistent state while blocks are written", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    let writing = true;
    const write = async () => {
      for (const number of run(1, 30)) {
        await Promise.all(
          [0, 1].map((slot) =>
            storage.writeEvent(id, number, slot, bytes(`${slot} for ${number}`))
          ),
        );
        await storage.writeMiniblocks(
          id,
          [number % 3n === 0n ? snapshotBlock(number) : block(number)],
          { generation: number + 1n, envelopes: [] },
          { generation: number, size: 2 },
        );
      }
    };
    const read = async () => {
      while (writing) {
        const view = await storage.readStreamFromLastSnapshot(id, 0);
        const last = view.miniblocks.at(-1)?.number ?? -1n;
        assert.equal(view.miniblocks[0]?.number, last - last % 3n);
        assert.deepEqual(
          view.minipoolEnvelopes,
          view.minipoolEnvelopes.map((_, slot) =>
            bytes(`${slot} for ${last + 1n}`)
          ),
        );
      }
    };
    await Promise.all([write().finally(() => (writing = false)), read()]);
  });
}
