/** writeMiniblocks. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  testMiniblocksArguments,
  write,
} from "./write_miniblocks_arguments.ts";
import {
  assertFails,
  assertRefused,
  assertServes,
  assertStorageError,
  block,
  blockBy,
  bytes,
  candidate,
  contentOf,
  type ExpectedError,
  legacyBlock,
  MAX_NUMBER,
  minipool,
  newStreamId,
  plantedStream,
  readBack,
  run,
  settle,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function writeMiniblocksContract(suite: Suite): void {
  testMiniblocksArguments(suite);
  testStoredRules(suite);
  testSize(suite);
  testBrokenMinipools(suite);
  testEffect(suite);
  testSizes(suite);
  testLatestSnapshot(suite);
  testCompetition(suite);
}

function testStoredRules(suite: Suite): void {
  suite.planted(
    "writeMiniblocks to an ephemeral stream fails",
    async ({ storage, plant }) => {
      const id = newStreamId("media");
      await plant(
        id,
        plantedStream([0n], { ephemeral: true, events: "no rows" }),
      );
      for (const size of [undefined, 0]) {
        await assertFails(write(storage, id, [block(1)], size), {
          code: "FAILED_PRECONDITION",
          reason: "ephemeral_stream",
          operation: "writeMiniblocks",
        });
      }
    },
  );

  suite.planted(
    "writeMiniblocks to a stream without blocks fails",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([], { events: "no rows" }));
      await assertFails(write(storage, id, [block(0)], 0), {
        code: "INTERNAL",
        details: { lastMiniblockInStorage: -1n },
      });
    },
  );

  for (const first of [1n, 2n, 4n, 100n, MAX_NUMBER - 1n]) {
    suite.test(`writeMiniblocks from ${first} after block 2 fails`, async ({ storage }) => {
      const id = newStreamId();
      await storage.createStreamStorage(id, block(0));
      await write(storage, id, [block(1), block(2)]);
      await assertRefused(
        storage,
        id,
        () => write(storage, id, [blockBy(2, first)]),
        {
          code: "INTERNAL",
          reason: "last_miniblock_mismatch",
          details: { lastMiniblockInStorage: 2n, expected: first, actual: 3n },
        },
      );
    });
  }
}

function testSize(suite: Suite): void {
  for (const size of [0, 1, 3]) {
    suite.test(`writeMiniblocks with size ${size} for 2 events fails`, async ({ storage }) => {
      const id = newStreamId();
      await storage.createStreamStorage(id, block(0));
      await storage.writeEvent(id, 1n, 0, bytes("event 0"));
      await storage.writeEvent(id, 1n, 1, bytes("event 1"));
      await assertRefused(
        storage,
        id,
        () => write(storage, id, [block(1)], size),
        {
          code: "INTERNAL",
          reason: "minipool_size_mismatch",
          details: { expected: size, actual: 2 },
        },
      );
      await write(storage, id, [block(1)], 2);
    });
  }

  suite.test("writeMiniblocks without a size accepts any number of events", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    await write(storage, id, [block(1)]);
    await storage.writeEvent(id, 2n, 0, bytes("event 0"));
    await write(storage, id, [block(2)]);
    await assertServes(storage, id, {
      blocks: run(0, 2),
      latest: 0n,
      events: [],
    });
  });
}

const BROKEN_MINIPOOLS: {
  name: string;
  rows: PlantedStream["minipool"];
  size?: number;
  expected: ExpectedError;
}[] = [
  {
    name: "an older generation",
    rows: minipool(1, 2),
    size: 2,
    expected: mismatch("minipool_generation_mismatch", 2n, 1n),
  },
  {
    name: "two generations",
    rows: [...minipool(2, 0), ...minipool(3, 0)],
    expected: mismatch("minipool_generation_mismatch", 2n, 3n),
  },
  {
    name: "an older marker",
    rows: [...minipool(1, 0), ...minipool(2, 1).slice(1)],
    size: 1,
    expected: mismatch("minipool_generation_mismatch", 2n, 1n),
  },
  {
    name: "a newer event",
    rows: [...minipool(2, 0), ...minipool(3, 1).slice(1)],
    size: 1,
    expected: mismatch("minipool_generation_mismatch", 2n, 3n),
  },
  {
    name: "a hole and another size",
    rows: minipool(2, 4).filter(({ slot }) => slot !== 1),
    size: 7,
    expected: mismatch("minipool_hole", 1, 2),
  },
  {
    name: "a hole",
    rows: minipool(2, 4).filter(({ slot }) => slot !== 1),
    size: 3,
    expected: mismatch("minipool_hole", 1, 2),
  },
  {
    name: "no marker",
    rows: minipool(2, 2).slice(1),
    size: 2,
    expected: mismatch("minipool_hole", -1, 0),
  },
  {
    name: "no rows, without a size",
    rows: [],
    expected: { code: "INTERNAL", reason: "minipool_missing" },
  },
  {
    name: "no rows, with size 3",
    rows: [],
    size: 3,
    expected: mismatch("minipool_size_mismatch", 3, 0),
  },
];

function testBrokenMinipools(suite: Suite): void {
  for (const { name, rows, size, expected } of BROKEN_MINIPOOLS) {
    suite.planted(
      `writeMiniblocks over a minipool with ${name} fails`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, { ...plantedStream(run(0, 1)), minipool: rows });
        await assertFails(write(storage, id, [block(2)], size), expected);
        assert.equal(await storage.getLastMiniblockNumber(id), 1n);
      },
    );
  }

  suite.planted(
    "writeMiniblocks checks the last block before the minipool",
    async ({ storage, plant }) => {
      const hole = minipool(7, 4).filter(({ slot }) => slot !== 1);
      const cases: [PlantedStream["minipool"], first: number, size: number][] =
        [[hole, 3, 9], [minipool(3, 1), 3, 1], [minipool(1, 1), 1, 1]];
      for (const [rows, first, size] of cases) {
        const id = newStreamId();
        await plant(id, { ...plantedStream(run(0, 1)), minipool: rows });
        await assertFails(write(storage, id, [blockBy(2, first)], size), {
          code: "INTERNAL",
          reason: "last_miniblock_mismatch",
          details: { lastMiniblockInStorage: 1n },
        });
      }
    },
  );

  suite.planted(
    "writeMiniblocks with size 0 needs no minipool rows",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(0, 1), { events: "no rows" }));
      await write(storage, id, [block(2)], 0);
      await storage.writeEvent(id, 3n, 0, bytes("event 0"));
    },
  );
}

function mismatch(
  reason: string,
  expected: unknown,
  actual: unknown,
): ExpectedError {
  return { code: "INTERNAL", reason, details: { expected, actual } };
}

function testEffect(suite: Suite): void {
  suite.test("writeMiniblocks replaces the minipool and adds the blocks", async ({ storage }) => {
    const id = newStreamId();
    const miniblocks = [block(1), snapshotBlock(2), block(3)];
    await storage.createStreamStorage(id, block(0));
    await storage.writeEvent(id, 1n, 0, bytes("in block 1"));
    await storage.writeMiniblocks(
      id,
      miniblocks,
      { generation: 4n, envelopes: [bytes("left 0"), bytes("left 1")] },
      { generation: 1n, size: 1 },
    );
    assert.deepEqual(await contentOf(storage, id), {
      view: {
        snapshotMiniblockOffset: 2,
        miniblocks: [block(0), ...miniblocks].map(readBack),
        minipoolEnvelopes: [bytes("left 0"), bytes("left 1")],
      },
      ranges: [{ startInclusive: 0n, endInclusive: 3n, snapshotSeqNums: [2n] }],
      streams: 1,
    });
    await storage.writeEvent(id, 4n, 2, bytes("event 2"));
  });

  suite.test("writeMiniblocks removes outdated candidates", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    for (const each of [1, 2, 3, 9].map((n) => candidate(n))) {
      await storage.writeMiniblockCandidate(id, each);
    }
    await write(storage, id, [block(1), block(2)]);
    const counts = [1n, 2n, 3n, 9n].map((number) =>
      storage.getMiniblockCandidateCount(id, number)
    );
    assert.deepEqual(await Promise.all(counts), [0, 0, 1, 1]);
  });
}

function testSizes(suite: Suite): void {
  suite.test("writeMiniblocks accepts many and large blocks", async ({ storage }) => {
    const id = newStreamId();
    const miniblocks = run(1, 200).map((number) => ({
      number,
      data: new Uint8Array(number % 50n === 0n ? 200_000 : 500)
        .fill(Number(number)),
      ...(number === 150n ? { snapshot: new Uint8Array(100_000).fill(7) } : {}),
    }));
    await storage.createStreamStorage(id, block(0));
    await storage.writeEvent(id, 1n, 0, bytes("in block 1"));
    for (const each of [1, 200, 201].map((n) => candidate(n))) {
      await storage.writeMiniblockCandidate(id, each);
    }
    const left = [new Uint8Array(100_000).fill(1), bytes("left 1")];
    await storage.writeMiniblocks(
      id,
      miniblocks,
      { generation: 201n, envelopes: left },
      { generation: 1n, size: 1 },
    );
    const { view } = await contentOf(storage, id);
    assert.equal(view.snapshotMiniblockOffset, 150);
    assert.deepEqual(view.miniblocks, [block(0), ...miniblocks]);
    assert.deepEqual(view.minipoolEnvelopes, left);
    const { miniblockCandidates } = await storage.debugReadStreamData(id);
    assert.deepEqual(miniblockCandidates, [candidate(201)]);
  });

  suite.planted(
    "writeMiniblocks works up to the largest number",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const last = MAX_NUMBER - 1n;
      await plant(id, plantedStream([last - 1n], { snapshots: [last - 1n] }));
      await write(storage, id, [block(last)]);
      await assertServes(storage, id, {
        blocks: [last - 1n, last],
        latest: last - 1n,
        events: [],
      });
    },
  );
}

function testLatestSnapshot(suite: Suite): void {
  const cases: [string, MiniblockDescriptor[], bigint][] = [
    ["no snapshot keeps it", [block(1), block(2)], 0n],
    [
      "empty snapshots keep it",
      [{ ...block(1), snapshot: new Uint8Array() }],
      0n,
    ],
    ["the last snapshot moves it", [
      snapshotBlock(1),
      snapshotBlock(2),
      block(3),
    ], 2n],
    [
      "a legacy snapshot moves it",
      [snapshotBlock(1), legacyBlock(2), block(3)],
      2n,
    ],
    ["an undeclared legacy snapshot keeps it", [readBack(legacyBlock(1))], 0n],
  ];
  for (const [name, miniblocks, latest] of cases) {
    suite.test(`writeMiniblocks and the latest snapshot: ${name}`, async ({ storage }) => {
      const id = newStreamId();
      const blocks = run(0, miniblocks.length);
      await storage.createStreamStorage(id, snapshotBlock(0));
      await write(storage, id, miniblocks);
      await assertServes(storage, id, { blocks, latest, events: [] });
      const { view } = await contentOf(storage, id);
      assert.deepEqual(view.miniblocks.slice(1), miniblocks.map(readBack));
    });
  }
}

function testCompetition(suite: Suite): void {
  suite.test("writeMiniblocks: exactly one of several for one number wins", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    const { succeeded, errors } = await settle(
      run(1, 8).map((n) => write(storage, id, [blockBy(n, 1)])),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      assertStorageError(error, {
        code: "INTERNAL",
        reason: "last_miniblock_mismatch",
      });
    }
    await assertServes(storage, id, {
      blocks: run(0, 1),
      latest: 0n,
      events: [],
    });
  });

  suite.test("streams live through many blocks side by side", async ({ storage }) => {
    const live = async (id: StreamId) => {
      await storage.createStreamStorage(id, snapshotBlock(0));
      for (const number of run(1, 10)) {
        await Promise.all(
          [0, 1, 2].map((slot) =>
            storage.writeEvent(id, number, slot, bytes(`event ${slot}`))
          ),
        );
        const next = number % 4n === 0n ? snapshotBlock(number) : block(number);
        await write(storage, id, [next], 3);
      }
      await assertServes(storage, id, {
        blocks: run(0, 10),
        latest: 8n,
        events: [],
      });
    };
    await Promise.all(run(1, 12).map(() => live(newStreamId())));
  });
}
