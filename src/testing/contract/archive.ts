/** createStreamArchiveStorage, writeArchiveMiniblocks, getMaxArchivedMiniblockNumber. */
import assert from "node:assert/strict";
import { BAD_DATA, BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertServes,
  assertStorageError,
  block,
  blockBy,
  bytes,
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
export function archiveContract(suite: Suite): void {
  testFaultyCalls(suite, "writeArchiveMiniblocks", [
    ...faultsOf(
      "startMiniblockNum",
      BAD_NUMBERS,
      (storage, start) =>
        storage.writeArchiveMiniblocks(newStreamId(), start, [block(0)]),
    ),
    ...faultsOf(
      "miniblocks[1].data",
      BAD_DATA,
      (storage, data) =>
        storage.writeArchiveMiniblocks(newStreamId(), 0n, [
          block(0),
          { number: 1n, data },
        ]),
    ),
    {
      fault: "no legacy snapshot in the data",
      argument: "miniblocks[0].hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) =>
        storage.writeArchiveMiniblocks(newStreamId(), 0n, [
          { ...block(0), hasLegacySnapshot: true },
        ]),
    },
    {
      fault: "too few numbers left",
      argument: "startMiniblockNum",
      call: (storage) =>
        storage.writeArchiveMiniblocks(newStreamId(), MAX_NUMBER, [
          block(0),
          block(1),
        ]),
    },
  ]);
  testEmpty(suite);
  testWriting(suite);
  testRefusals(suite);
}

function testEmpty(suite: Suite): void {
  suite.test("getMaxArchivedMiniblockNumber of a new archive stream is -1", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    assert.equal(await storage.getMaxArchivedMiniblockNumber(id), -1n);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), []);
    assert.equal(await storage.isStreamEphemeral(id), false);
    assert.deepEqual(await storage.readMiniblocks(id, 0n, 5n), {
      miniblocks: [],
      terminus: true,
    });
    await assertFails(storage.getLastMiniblockNumber(id), {
      code: "NOT_FOUND",
      reason: "no_miniblocks",
    });
    await assertFails(storage.readStreamFromLastSnapshot(id, 0), {
      code: "NOT_FOUND",
      reason: "corrupt_stream",
    });
    await assertFails(storage.createStreamArchiveStorage(id), {
      code: "ALREADY_EXISTS",
      reason: "stream_exists",
    });
    await assertFails(storage.createStreamStorage(id, block(0)), {
      code: "ALREADY_EXISTS",
      reason: "stream_exists",
    });
  });
}

function testWriting(suite: Suite): void {
  suite.test("archived blocks are numbered from the start given", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    const first = [snapshotBlock(90), legacyBlock(90), block(90)];
    await storage.writeArchiveMiniblocks(id, 0n, first);
    await storage.writeArchiveMiniblocks(id, 3n, [block(3)]);
    const stored = [...first, block(3)].map((each, index) => ({
      ...readBack(each),
      number: BigInt(index),
    }));
    assert.deepEqual(await storage.readMiniblocks(id, 0n, 9n), {
      miniblocks: stored,
      terminus: true,
    });
    assert.equal(await storage.getMaxArchivedMiniblockNumber(id), 3n);
    assert.deepEqual(await storage.getMiniblockNumberRanges(id), [
      { startInclusive: 0n, endInclusive: 3n, snapshotSeqNums: [0n, 1n] },
    ]);
    await assertServes(storage, id, {
      blocks: run(0, 3),
      latest: 0n,
      events: [],
    });
  });

  suite.test("an archive stream has no minipool to write to", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, [block(0)]);
    await assertFails(storage.writeEvent(id, 1n, 0, bytes("event")), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_generation_mismatch",
    });
  });

  suite.test("an empty list of archived blocks checks the position", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    await storage.writeArchiveMiniblocks(id, 0n, []);
    assert.equal(await storage.getMaxArchivedMiniblockNumber(id), -1n);
    await assertFails(storage.writeArchiveMiniblocks(id, 1n, []), {
      code: "DB_OPERATION_FAILURE",
      reason: "archive_position_mismatch",
    });
  });
}

function testRefusals(suite: Suite): void {
  for (const start of [0n, 1n, 3n, MAX_NUMBER]) {
    suite.test(`archiving from ${start} after block 1 fails`, async ({ storage }) => {
      const id = newStreamId();
      await storage.createStreamArchiveStorage(id);
      await storage.writeArchiveMiniblocks(id, 0n, [block(0), block(1)]);
      await assertFails(
        storage.writeArchiveMiniblocks(id, start, [block(2)]),
        {
          code: "DB_OPERATION_FAILURE",
          reason: "archive_position_mismatch",
          operation: "writeArchiveMiniblocks",
          details: { expected: start, actual: 2n, lastMiniblockInStorage: 1n },
        },
      );
      assert.equal(await storage.getMaxArchivedMiniblockNumber(id), 1n);
    });
  }

  suite.test("a stream that is ephemeral or has a minipool takes no archived blocks", async ({ storage }) => {
    const [regular, ephemeral] = [newStreamId(), newStreamId("media")];
    await storage.createStreamStorage(regular, block(0));
    await storage.createEphemeralStreamStorage(ephemeral, block(0));
    await assertFails(storage.writeArchiveMiniblocks(regular, 1n, [block(1)]), {
      code: "FAILED_PRECONDITION",
      reason: "stream_has_minipool",
    });
    await assertFails(
      storage.writeArchiveMiniblocks(ephemeral, 1n, [block(1)]),
      { code: "FAILED_PRECONDITION", reason: "ephemeral_stream" },
    );
    for (const id of [regular, ephemeral]) {
      await assertFails(storage.writeArchiveMiniblocks(id, 2n, [block(2)]), {
        code: "DB_OPERATION_FAILURE",
        reason: "archive_position_mismatch",
      });
      assert.equal(await storage.getMaxArchivedMiniblockNumber(id), 0n);
    }
  });

  suite.test("exactly one of several archivers of one block wins", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamArchiveStorage(id);
    const { succeeded, errors } = await settle(
      run(1, 8).map((n) =>
        storage.writeArchiveMiniblocks(id, 0n, [blockBy(n, 0)])
      ),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      assertStorageError(error, {
        code: "DB_OPERATION_FAILURE",
        reason: "archive_position_mismatch",
      });
    }
  });

  suite.planted(
    "the largest archived number is returned despite gaps",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, plantedStream([0n, 1n, 7n], { events: "no rows" }));
      assert.equal(await storage.getMaxArchivedMiniblockNumber(id), 7n);
    },
  );
}
