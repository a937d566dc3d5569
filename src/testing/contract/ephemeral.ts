/** createEphemeralStreamStorage, writeEphemeralMiniblock, normalizeEphemeralStream and the reads around them. */
import assert from "node:assert/strict";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { BAD_DATA, BAD_NUMBERS, faultsOf, testFaultyCalls } from "./common.ts";
import type { Suite } from "./suite.ts";
import {
  assertFails,
  assertServes,
  assertStorageError,
  block,
  blockBy,
  bytes,
  candidate,
  type ExpectedError,
  hashOf,
  legacyBlock,
  MAX_NUMBER,
  mediaGenesis,
  minipool,
  newStreamId,
  readBack,
  run,
  settle,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function ephemeralContract(suite: Suite): void {
  testArguments(suite);
  testCreating(suite);
  testWriting(suite);
  testWritingAtOnce(suite);
  testNormalizing(suite);
  testNotNormalizing(suite);
  testLocation(suite);
}

function testArguments(suite: Suite): void {
  const untrue = { ...block(0), hasLegacySnapshot: true };
  testFaultyCalls(suite, "createEphemeralStreamStorage", [
    ...faultsOf(
      "genesis.data",
      BAD_DATA,
      (storage, data) =>
        storage.createEphemeralStreamStorage(newStreamId(), {
          number: 0n,
          data,
        }),
    ),
    {
      fault: "no legacy snapshot in the data",
      argument: "genesis.hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) =>
        storage.createEphemeralStreamStorage(newStreamId(), untrue),
    },
  ]);
  testFaultyCalls(suite, "writeEphemeralMiniblock", [
    ...faultsOf(
      "miniblock.data",
      BAD_DATA,
      (storage, data) =>
        storage.writeEphemeralMiniblock(newStreamId(), { number: 0n, data }),
    ),
    ...faultsOf(
      "miniblock.number",
      BAD_NUMBERS,
      (storage, number) =>
        storage.writeEphemeralMiniblock(newStreamId(), { ...block(0), number }),
    ),
    {
      fault: "no legacy snapshot in the data",
      argument: "miniblock.hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) => storage.writeEphemeralMiniblock(newStreamId(), untrue),
    },
  ]);
}

function testCreating(suite: Suite): void {
  suite.test("createEphemeralStreamStorage stores block 0 only", async ({ storage }) => {
    const id = newStreamId("media");
    await storage.createEphemeralStreamStorage(id, snapshotBlock(7));
    assert.equal(await storage.isStreamEphemeral(id), true);
    assert.deepEqual(await storage.readEphemeralMiniblockNums(id), [0n]);
    assert.deepEqual(await storage.readMiniblocks(id, 0n, 9n), {
      miniblocks: [{ ...snapshotBlock(7), number: 0n }],
      terminus: true,
    });
    await assertFails(storage.writeEvent(id, 1n, 0, bytes("event")), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_generation_mismatch",
    });
    for (const known of [id, newStreamId()]) {
      if (known !== id) await storage.createStreamStorage(known, block(0));
      await assertFails(
        storage.createEphemeralStreamStorage(known, block(0)),
        { code: "ALREADY_EXISTS", reason: "stream_exists" },
      );
    }
  });
}

function testWriting(suite: Suite): void {
  suite.test("writeEphemeralMiniblock takes blocks in any order, readEphemeralMiniblockNums sorts them", async ({ storage }) => {
    const id = newStreamId("media");
    const numbers = [3n, 0n, MAX_NUMBER - 1n, 1n];
    for (const number of numbers) {
      await storage.writeEphemeralMiniblock(id, block(number));
    }
    assert.equal(await storage.isStreamEphemeral(id), true);
    assert.deepEqual(await storage.readEphemeralMiniblockNums(id), [
      0n,
      1n,
      3n,
      MAX_NUMBER - 1n,
    ]);
    const { miniblocks } = await storage.readMiniblocks(id, 0n, 2n);
    assert.deepEqual(miniblocks, [block(0), block(1)]);
  });

  suite.test("writeEphemeralMiniblock refuses a stored number and a regular stream", async ({ storage }) => {
    const [id, regular, archive] = [
      newStreamId("media"),
      newStreamId("media"),
      newStreamId("media"),
    ];
    await storage.writeEphemeralMiniblock(id, block(2));
    await assertFails(
      storage.writeEphemeralMiniblock(id, { ...block(2), data: bytes("b") }),
      { code: "ALREADY_EXISTS", reason: "miniblock_exists" },
    );
    const { miniblocks } = await storage.readMiniblocks(id, 2n, 3n);
    assert.deepEqual(miniblocks, [block(2)]);
    await storage.createStreamStorage(regular, block(0));
    await storage.createStreamArchiveStorage(archive);
    for (const other of [regular, archive]) {
      await assertFails(storage.writeEphemeralMiniblock(other, block(5)), {
        code: "ALREADY_EXISTS",
        reason: "stream_not_ephemeral",
        operation: "writeEphemeralMiniblock",
      });
      await assertFails(storage.readEphemeralMiniblockNums(other), {
        code: "NOT_FOUND",
        reason: "stream_not_ephemeral",
      });
    }
  });
}

function testWritingAtOnce(suite: Suite): void {
  suite.test("concurrent first writers of an ephemeral stream all succeed", async ({ storage }) => {
    const id = newStreamId("media");
    await Promise.all(
      run(0, 9).map((number) =>
        storage.writeEphemeralMiniblock(id, block(number))
      ),
    );
    assert.deepEqual(await storage.readEphemeralMiniblockNums(id), run(0, 9));
    assert.equal(await storage.getStreamsNumber(), 1);
  });

  suite.test("calls after a first ephemeral writer find its stream", async ({ storage }) => {
    const id = newStreamId("media");
    const { genesis, headerHash } = mediaGenesis(1);
    const [, , , hash] = await Promise.all([
      storage.writeEphemeralMiniblock(id, genesis),
      storage.writeEphemeralMiniblock(id, block(1)),
      storage.writeMiniblockCandidate(id, candidate(2)),
      storage.normalizeEphemeralStream(id),
    ]);
    assert.deepEqual(hash, headerHash);
  });

  suite.test("writeEphemeralMiniblock accepts the greatest number", async ({ storage }) => {
    const id = newStreamId("media");
    for (const number of [0n, MAX_NUMBER]) {
      await storage.writeEphemeralMiniblock(id, block(number));
    }
    const numbers = [0n, MAX_NUMBER];
    assert.deepEqual(await storage.readEphemeralMiniblockNums(id), numbers);
    await assertFails(
      storage.writeEphemeralMiniblock(id, blockBy(2, MAX_NUMBER)),
      { code: "ALREADY_EXISTS", reason: "miniblock_exists" },
    );
    await assertFails(
      storage.writePrecedingMiniblocks(id, [block(MAX_NUMBER)]),
      { code: "INVALID_ARGUMENT", reason: "not_below_last" },
    );
  });

  suite.test("exactly one of several writers of one ephemeral block wins", async ({ storage }) => {
    const id = newStreamId("media");
    const { succeeded, errors } = await settle(
      run(1, 8).map((n) => storage.writeEphemeralMiniblock(id, blockBy(n, 0))),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      assertStorageError(error, {
        code: "ALREADY_EXISTS",
        reason: "miniblock_exists",
      });
    }
  });
}

function testNormalizing(suite: Suite): void {
  for (const chunks of [0, 1, 3]) {
    suite.test(`normalizeEphemeralStream of ${chunks} chunks makes a regular stream`, async ({ storage }) => {
      const id = newStreamId("media");
      const { genesis, headerHash } = mediaGenesis(chunks);
      const blocks = [genesis, ...run(1, chunks).map((n) => block(n))];
      for (const each of blocks) {
        await storage.writeEphemeralMiniblock(id, each);
      }
      const hash = await storage.normalizeEphemeralStream(id);
      assert.deepEqual(hash, headerHash);
      assert.equal(hash.constructor, Uint8Array);
      assert.equal(hash.buffer.byteLength, hash.byteLength);
      assert.equal(await storage.isStreamEphemeral(id), false);
      await storage.writeEvent(id, BigInt(chunks) + 1n, 0, bytes("event"));
      await assertServes(storage, id, {
        blocks: run(0, chunks),
        latest: 0n,
        events: ["event"],
      });
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 99n);
      assert.deepEqual(miniblocks, blocks.map(readBack));
      await assertFails(storage.normalizeEphemeralStream(id), {
        code: "NOT_FOUND",
        reason: "stream_not_ephemeral",
      });
      await assertFails(storage.writeEphemeralMiniblock(id, block(99)), {
        code: "ALREADY_EXISTS",
        reason: "stream_not_ephemeral",
      });
    });
  }

  suite.planted(
    "normalizeEphemeralStream leaves only its own minipool",
    async ({ storage, plant }) => {
      const id = newStreamId("media");
      await plant(id, {
        latestSnapshot: 0n,
        ephemeral: true,
        blocks: [mediaGenesis(0).genesis],
        minipool: minipool(7, 2),
      });
      await storage.normalizeEphemeralStream(id);
      const { events } = await storage.debugReadStreamData(id);
      assert.deepEqual(events, [{ generation: 1n, slot: -1 }]);
    },
  );

  suite.test("exactly one of several calls of normalizeEphemeralStream wins", async ({ storage }) => {
    const id = newStreamId("media");
    await storage.createEphemeralStreamStorage(id, mediaGenesis(0).genesis);
    const { succeeded, errors } = await settle(
      run(1, 5).map(() => storage.normalizeEphemeralStream(id)),
    );
    assert.equal(succeeded, 1);
    for (const error of errors) {
      assertStorageError(error, { code: "NOT_FOUND" });
    }
  });
}

/** A genesis for 3 chunks. */
const GENESIS = mediaGenesis(3).genesis;

const NOT_INCEPTION: ExpectedError = {
  code: "INTERNAL",
  reason: "not_media_inception",
};

/** Incomplete uploads, and how each is refused. */
const UNFINISHED: [string, MiniblockDescriptor[], ExpectedError][] = [
  ["no block 0", [block(1), block(2)], {
    code: "NOT_FOUND",
    reason: "no_genesis",
  }],
  ["no message in block 0", [block(0)], NOT_INCEPTION],
  ["no inception in block 0", [legacyBlock(0)], NOT_INCEPTION],
  [
    "a cut block 0",
    [{ number: 0n, data: GENESIS.data.slice(0, -1) }],
    NOT_INCEPTION,
  ],
  ["a gap", [GENESIS, block(1), block(3)], {
    code: "MINIBLOCKS_STORAGE_FAILURE",
    reason: "miniblock_gap",
    details: { expected: 2n, actual: 3n },
  }],
  ["a gap, and no inception in block 0", [block(0), block(2)], NOT_INCEPTION],
  ["a gap, and another number of chunks", [GENESIS, block(2)], {
    code: "MINIBLOCKS_STORAGE_FAILURE",
    reason: "miniblock_gap",
    details: { expected: 1n, actual: 2n },
  }],
  ["too few chunks", [GENESIS, block(1), block(2)], {
    code: "INTERNAL",
    reason: "chunk_count_mismatch",
    details: { expected: 3n, actual: 2n },
  }],
  ["too many chunks", [GENESIS, ...run(1, 4).map((n) => block(n))], {
    code: "INTERNAL",
    reason: "chunk_count_mismatch",
    details: { expected: 3n, actual: 4n },
  }],
];

function testNotNormalizing(suite: Suite): void {
  for (const [name, blocks, expected] of UNFINISHED) {
    suite.test(`normalizeEphemeralStream with ${name} fails`, async ({ storage }) => {
      const id = newStreamId("media");
      for (const each of blocks) {
        const { number, data } = each;
        await storage.writeEphemeralMiniblock(id, { number, data });
      }
      await assertFails(storage.normalizeEphemeralStream(id), {
        ...expected,
        operation: "normalizeEphemeralStream",
      });
      assert.equal(await storage.isStreamEphemeral(id), true);
      const numbers = blocks.map(({ number }) => number);
      assert.deepEqual(await storage.readEphemeralMiniblockNums(id), numbers);
    });
  }

  suite.test("an ephemeral stream takes only ephemeral blocks", async ({ storage }) => {
    const id = newStreamId("media");
    await storage.createEphemeralStreamStorage(id, block(0));
    const refused: ExpectedError = {
      code: "FAILED_PRECONDITION",
      reason: "ephemeral_stream",
    };
    await assertFails(
      storage.writeMiniblocks(
        id,
        [block(1)],
        { generation: 2n, envelopes: [] },
        { generation: 1n, size: 0 },
      ),
      refused,
    );
    await assertFails(
      storage.reinitializeStreamStorage(id, [snapshotBlock(1)], 1n, true),
      refused,
    );
    await assertFails(
      storage.reinitializeStreamStorage(id, [snapshotBlock(1)], 1n, false),
      { code: "ALREADY_EXISTS", reason: "stream_exists" },
    );
    await storage.writeMiniblockCandidate(id, {
      ...block(1),
      hash: hashOf("a"),
    });
    await storage.deleteStream(id);
    assert.equal(await storage.getStreamsNumber(), 0);
  });
}

function testLocation(suite: Suite): void {
  suite.test("isStreamEphemeral and streamMiniblocksStoredLocation of a new stream", async ({ storage }) => {
    const id = newStreamId("media");
    await storage.createStreamStorage(id, block(0));
    assert.equal(await storage.isStreamEphemeral(id), false);
    assert.equal(await storage.streamMiniblocksStoredLocation(id), "db");
  });
}
