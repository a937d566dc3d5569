/** reinitializeStreamStorage, and writePrecedingMiniblocks beside it. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import { listFaults, precedingContract } from "./preceding.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertRefused,
  assertServes,
  block,
  blockBy,
  bytes,
  candidate,
  contentOf,
  type ExpectedError,
  legacyBlock,
  MAX_NUMBER,
  newStreamId,
  plantedStream,
  readBack,
  run,
  settle,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function rebuildContract(suite: Suite): void {
  precedingContract(suite);
  testRebuildArguments(suite);
  testNewStream(suite);
  testRebuildRefusals(suite);
  testRebuilding(suite);
  testRebuildingOthers(suite);
  testSnapshotOfStoredBlock(suite);
}

function testRebuildArguments(suite: Suite): void {
  testFaultyCalls(suite, "reinitializeStreamStorage", [
    ...listFaults((storage, miniblocks) =>
      storage.reinitializeStreamStorage(newStreamId(), miniblocks, 0n, true)
    ),
    ...faultsOf("lastSnapshotMiniblockNum", [
      ...BAD_NUMBERS,
      ["below the range", 1n],
      ["above the range", 5n],
      ["a block without a snapshot", 3n],
      ["a block with an empty snapshot", 4n],
    ], (storage, snapshot) =>
      storage.reinitializeStreamStorage(
        newStreamId(),
        [
          snapshotBlock(2),
          block(3),
          { ...block(4), snapshot: new Uint8Array() },
        ],
        snapshot,
        true,
      )),
    {
      fault: "updateExisting is not a boolean",
      argument: "updateExisting",
      call: (storage) =>
        storage.reinitializeStreamStorage(
          newStreamId(),
          [snapshotBlock(0)],
          0n,
          "yes" as unknown as boolean,
        ),
    },
    {
      fault: "no number left for the next block",
      argument: "miniblocks",
      call: (storage) =>
        storage.reinitializeStreamStorage(
          newStreamId(),
          [snapshotBlock(MAX_NUMBER)],
          MAX_NUMBER,
          true,
        ),
    },
  ]);
}

function testNewStream(suite: Suite): void {
  for (const updateExisting of [true, false]) {
    suite.test(`reinitializeStreamStorage(${updateExisting}) creates an unknown stream`, async ({ storage }) => {
      const id = newStreamId();
      const given = [snapshotBlock(100), snapshotBlock(101), block(102)];
      await storage.reinitializeStreamStorage(id, given, 101n, updateExisting);
      assert.deepEqual(await storage.readStreamFromLastSnapshot(id, 9), {
        snapshotMiniblockOffset: 1,
        miniblocks: given,
        minipoolEnvelopes: [],
      });
      await storage.writeEvent(id, 103n, 0, bytes("event"));
    });
  }

  suite.test("reinitializeStreamStorage accepts a legacy snapshot, declared or not", async ({ storage }) => {
    for (const legacy of [legacyBlock(3), readBack(legacyBlock(3))]) {
      const id = newStreamId();
      const given = [block(2), legacy];
      await storage.reinitializeStreamStorage(id, given, 3n, false);
      await assertServes(storage, id, {
        blocks: run(2, 3),
        latest: 3n,
        events: [],
      });
    }
  });

  suite.test("one of several reinitializeStreamStorage of a new stream wins", async ({ storage }) => {
    const id = newStreamId();
    const { succeeded, errors } = await settle(
      run(1, 5).map((n) =>
        storage.reinitializeStreamStorage(
          id,
          [{ ...blockBy(n, 0), snapshot: bytes("snapshot") }],
          0n,
          false,
        )
      ),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      await assertFails(Promise.reject(error), { code: "ALREADY_EXISTS" });
    }
  });

  suite.test("reinitializeStreamStorage works up to the largest number", async ({ storage }) => {
    const id = newStreamId();
    const last = MAX_NUMBER - 1n;
    await storage.reinitializeStreamStorage(
      id,
      [snapshotBlock(last)],
      last,
      true,
    );
    await storage.writeEvent(id, MAX_NUMBER, 0, bytes("event"));
    await assertServes(storage, id, {
      blocks: [last],
      latest: last,
      events: ["event"],
    });
  });
}

const REFUSALS: {
  name: string;
  miniblocks: MiniblockDescriptor[];
  snapshot: bigint;
  update?: boolean;
  expected: ExpectedError;
}[] = [
  {
    name: "without updateExisting",
    miniblocks: [snapshotBlock(10)],
    snapshot: 10n,
    update: false,
    expected: { code: "ALREADY_EXISTS", reason: "stream_exists" },
  },
  {
    name: "with an older snapshot",
    miniblocks: [snapshotBlock(6), ...run(7, 10).map((n) => block(n))],
    snapshot: 6n,
    expected: {
      code: "INVALID_ARGUMENT",
      reason: "snapshot_before_latest",
      details: { expected: 6n, actual: 7n },
    },
  },
  {
    name: "with an older snapshot, ending below the last block",
    miniblocks: [snapshotBlock(6), block(7)],
    snapshot: 6n,
    expected: { code: "INVALID_ARGUMENT", reason: "snapshot_before_latest" },
  },
  {
    name: "that ends below the last block, at a block without a snapshot",
    miniblocks: [legacyBlock(8)],
    snapshot: 8n,
    expected: { code: "INVALID_ARGUMENT", reason: "not_above_last" },
  },
  {
    name: "that ends where the stream ends",
    miniblocks: [snapshotBlock(8), block(9)],
    snapshot: 8n,
    expected: {
      code: "INVALID_ARGUMENT",
      reason: "not_above_last",
      details: { lastMiniblockInStorage: 9n },
    },
  },
];

function testRebuildRefusals(suite: Suite): void {
  const stored = plantedStream(run(5, 9), { snapshots: [5, 7], events: 1 });
  for (const { name, miniblocks, snapshot, update, expected } of REFUSALS) {
    suite.planted(
      `reinitializeStreamStorage ${name} fails`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, stored);
        await assertRefused(
          storage,
          id,
          () =>
            storage.reinitializeStreamStorage(
              id,
              miniblocks,
              snapshot,
              update ?? true,
            ),
          { ...expected, operation: "reinitializeStreamStorage" },
        );
      },
    );
  }

  suite.planted(
    "reinitializeStreamStorage of a stream without blocks fails",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([], { events: "no rows" }));
      await assertFails(
        storage.reinitializeStreamStorage(id, [snapshotBlock(0)], 0n, true),
        { code: "INTERNAL", reason: "no_miniblocks" },
      );
    },
  );
}

function testRebuilding(suite: Suite): void {
  suite.planted(
    "reinitializeStreamStorage extends a stream and keeps its blocks",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        ...plantedStream(run(3, 6), { snapshots: [3], events: 2 }),
        candidates: [7, 10, 11].map((number) => candidate(number)),
      });
      const given = run(5, 10).map((number) => ({
        number,
        data: bytes(`given ${number}`),
        ...(number === 8n ? { snapshot: bytes("given snapshot") } : {}),
      }));
      await storage.reinitializeStreamStorage(id, given, 8n, true);
      const { view } = await contentOf(storage, id);
      assert.deepEqual(view, {
        snapshotMiniblockOffset: 5,
        miniblocks: [
          snapshotBlock(3),
          ...run(4, 6).map((n) => block(n)),
          ...given.slice(2),
        ],
        minipoolEnvelopes: [],
      });
      const counts = [7n, 10n, 11n].map((number) =>
        storage.getMiniblockCandidateCount(id, number)
      );
      assert.deepEqual(await Promise.all(counts), [0, 0, 1]);
      await storage.writeEvent(id, 11n, 0, bytes("event"));
    },
  );
}

function testRebuildingOthers(suite: Suite): void {
  suite.planted(
    "reinitializeStreamStorage may leave a gap before its blocks",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream(run(0, 2), { snapshots: [0] }));
      const given = [block(10), snapshotBlock(11)];
      await storage.reinitializeStreamStorage(id, given, 11n, true);
      await assertServes(storage, id, {
        blocks: run(10, 11),
        latest: 11n,
        events: [],
      });
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 5n);
      assert.deepEqual(miniblocks.map(({ number }) => number), run(0, 2));
    },
  );

  suite.planted(
    "reinitializeStreamStorage extends a stream whose latest snapshot is -1",
    async ({ storage, plant }) => {
      const id = newStreamId();
      const rows = plantedStream(run(0, 2), { snapshots: [0], latest: -1 });
      await plant(id, rows);
      const given = [snapshotBlock(0), ...run(1, 3).map((n) => block(n))];
      await storage.reinitializeStreamStorage(id, given, 0n, true);
      await assertServes(storage, id, {
        blocks: run(0, 3),
        latest: 0n,
        events: [],
      });
    },
  );

  suite.test("reinitializeStreamStorage makes an archive stream regular", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, [block(0), block(1)]);
    const given = [block(1), snapshotBlock(2)];
    await storage.reinitializeStreamStorage(id, given, 2n, true);
    await storage.writeEvent(id, 3n, 0, bytes("event"));
    await assertServes(storage, id, {
      blocks: run(0, 2),
      latest: 2n,
      events: ["event"],
    });
  });
}

const GIVEN = { number: 2n, data: bytes("given"), snapshot: bytes("given") };

/** The stored block at the new snapshot, the given block, and the result. */
const STORED_AT_SNAPSHOT: {
  name: string;
  stored: PlantedStream["blocks"][number];
  given: MiniblockDescriptor;
  result: MiniblockDescriptor | ExpectedError;
}[] = [
  {
    name: "gets the snapshot that it lacks",
    stored: block(2),
    given: GIVEN,
    result: { ...block(2), snapshot: GIVEN.snapshot },
  },
  {
    name: "gets a snapshot for its empty one",
    stored: { ...block(2), snapshot: new Uint8Array() },
    given: GIVEN,
    result: { ...block(2), snapshot: GIVEN.snapshot },
  },
  {
    name: "keeps its own snapshot",
    stored: snapshotBlock(2),
    given: GIVEN,
    result: snapshotBlock(2),
  },
  {
    name: "keeps its legacy snapshot",
    stored: readBack(legacyBlock(2)),
    given: GIVEN,
    result: readBack(legacyBlock(2)),
  },
  {
    name: "can't take a legacy snapshot",
    stored: block(2),
    given: legacyBlock(2),
    result: { code: "INVALID_ARGUMENT", reason: "snapshot_not_storable" },
  },
];

function testSnapshotOfStoredBlock(suite: Suite): void {
  for (const { name, stored, given, result } of STORED_AT_SNAPSHOT) {
    suite.planted(
      `reinitializeStreamStorage: a stored block ${name}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        const rows = plantedStream(run(0, 2), { snapshots: [0] });
        rows.blocks[2] = stored;
        await plant(id, rows);
        const call = () =>
          storage.reinitializeStreamStorage(id, [given, block(3)], 2n, true);
        if ("code" in result) {
          await assertRefused(storage, id, call, result);
          return;
        }
        await call();
        const { miniblocks } = await storage.readMiniblocks(id, 2n, 4n);
        assert.deepEqual(miniblocks, [result, block(3)]);
        await assertServes(storage, id, {
          blocks: run(0, 3),
          latest: 2n,
          events: [],
        });
      },
    );
  }
}
