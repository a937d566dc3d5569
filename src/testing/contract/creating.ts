/** createStreamStorage, deleteStream, getStreams, getStreamsNumber. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { StreamId } from "../../storage/stream_id.ts";
import { BAD_COUNTS, BAD_DATA, faultsOf, testFaultyCalls } from "./common.ts";
import type { PlantedStream, Suite } from "./suite.ts";
import {
  assertFails,
  assertOwnBytes,
  assertRefused,
  assertServes,
  block,
  blockBy,
  bytes,
  candidate,
  collect,
  contentOf,
  legacyBlock,
  minipool,
  newStreamId,
  plantedStream,
  readBack,
  run,
  settle,
  snapshotBlock,
} from "./support.ts";

/** Registers the tests. */
export function creatingContract(suite: Suite): void {
  testFaultyCalls(suite, "createStreamStorage", [
    ...faultsOf(
      "genesis.data",
      BAD_DATA,
      (storage, data) =>
        storage.createStreamStorage(newStreamId(), { number: 0n, data }),
    ),
    {
      fault: "no legacy snapshot in the data",
      argument: "genesis.hasLegacySnapshot",
      reason: "no_legacy_snapshot",
      call: (storage) =>
        storage.createStreamStorage(newStreamId(), {
          ...block(0),
          hasLegacySnapshot: true,
        }),
    },
  ]);
  testCreating(suite);
  testKnownStream(suite);
  testRepairing(suite);
  testNotRepairing(suite);
  testDeleting(suite);
  testListing(suite);
}

function testCreating(suite: Suite): void {
  suite.test("createStreamStorage stores the genesis and an empty minipool", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    assert.deepEqual(await contentOf(storage, id), {
      view: {
        snapshotMiniblockOffset: 0,
        miniblocks: [readBack(block(0))],
        minipoolEnvelopes: [],
      },
      ranges: [{ startInclusive: 0n, endInclusive: 0n, snapshotSeqNums: [] }],
      streams: 1,
    });
    assert.equal(await storage.getLastMiniblockNumber(id), 0n);
    await storage.writeEvent(id, 1n, 0, bytes("first"));
  });

  suite.test("createStreamStorage takes every kind of genesis", async ({ storage }) => {
    const kinds = [
      { genesis: snapshotBlock(0), snapshots: [0n] },
      { genesis: { ...block(0), snapshot: new Uint8Array() }, snapshots: [] },
      { genesis: legacyBlock(0), snapshots: [0n] },
      { genesis: { ...block(7), number: 7n }, snapshots: [] },
    ];
    for (const { genesis, snapshots } of kinds) {
      const id = newStreamId();
      await storage.createStreamStorage(id, genesis);
      const { view, ranges } = await contentOf(storage, id);
      assert.deepEqual(view.miniblocks, [{ ...readBack(genesis), number: 0n }]);
      assert.deepEqual(ranges[0]?.snapshotSeqNums, snapshots);
    }
  });
}

function testKnownStream(suite: Suite): void {
  suite.test("createStreamStorage of a known stream is ALREADY_EXISTS", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, block(0));
    await storage.writeEvent(id, 1n, 0, bytes("first"));
    await assertRefused(
      storage,
      id,
      () => storage.createStreamStorage(id, blockBy(2, 0)),
      {
        code: "ALREADY_EXISTS",
        reason: "stream_exists",
        operation: "createStreamStorage",
        details: { streamId: id },
      },
    );
    await assertFails(
      storage.createStreamStorage(id, { number: 0n, data: new Uint8Array() }),
      { code: "INVALID_ARGUMENT" },
    );
  });

  suite.test("of several concurrent createStreamStorage exactly one succeeds", async ({ storage }) => {
    const id = newStreamId();
    const calls = run(1, 10).map((n) =>
      storage.createStreamStorage(id, blockBy(n, 0))
    );
    const { succeeded, errors } = await settle(calls);
    assert.equal(succeeded, 1);
    for (const error of errors) {
      await assertFails(Promise.reject(error), { code: "ALREADY_EXISTS" });
    }
    await assertServes(storage, id, { blocks: [0n], latest: 0n, events: [] });
  });

  suite.test("bytes stored from a Buffer are read as plain arrays of their own", async ({ storage }) => {
    const id = newStreamId();
    const genesis = {
      number: 0n,
      data: Buffer.from("block 0"),
      snapshot: Buffer.from("snapshot 0"),
    };
    const event = Buffer.from("first");
    await storage.createStreamStorage(id, genesis);
    await storage.writeEvent(id, 1n, 0, event);
    for (const given of [genesis.data, genesis.snapshot, event]) given.fill(0);
    await assertOwnBytes(() => storage.readStreamFromLastSnapshot(id, 0));
    await assertOwnBytes(() => storage.readMiniblocks(id, 0n, 1n));
    await assertOwnBytes(() => collect(storage.streamMiniblocks(id, 0n, 1n)));
    const { view } = await contentOf(storage, id);
    assert.deepEqual(view.miniblocks, [snapshotBlock(0)]);
    assert.deepEqual(view.minipoolEnvelopes, [bytes("first")]);
  });
}

const EMPTY_GENESIS = { number: 0n, data: new Uint8Array() };

function testRepairing(suite: Suite): void {
  const repairable: [string, PlantedStream][] = [
    ["", {
      latestSnapshot: 0n,
      blocks: [EMPTY_GENESIS],
      minipool: minipool(1, 0),
    }],
    [" of old", {
      latestSnapshot: -1n,
      blocks: [EMPTY_GENESIS],
      minipool: minipool(1, 0),
    }],
    [" without a minipool", {
      latestSnapshot: 0n,
      blocks: [EMPTY_GENESIS],
      minipool: [],
    }],
  ];
  for (const [kind, rows] of repairable) {
    suite.planted(
      `createStreamStorage repairs an empty genesis${kind}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        await storage.createStreamStorage(id, snapshotBlock(0));
        const { view, ranges } = await contentOf(storage, id);
        assert.deepEqual(view.miniblocks, [readBack(snapshotBlock(0))]);
        assert.deepEqual(ranges[0]?.snapshotSeqNums, [0n]);
        await storage.writeEvent(id, 1n, 0, bytes("first"));
        await assertFails(storage.createStreamStorage(id, blockBy(2, 0)), {
          code: "ALREADY_EXISTS",
        });
      },
    );
  }

  suite.planted(
    "createStreamStorage keeps the events of a repaired stream",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        latestSnapshot: 0n,
        blocks: [EMPTY_GENESIS],
        minipool: minipool(1, 2),
      });
      await storage.createStreamStorage(id, block(0));
      const events = ["event 0", "event 1"];
      await assertServes(storage, id, { blocks: [0n], latest: 0n, events });
    },
  );
}

function testNotRepairing(suite: Suite): void {
  suite.planted(
    "createStreamStorage gives no minipool to a repaired stream with more blocks",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        latestSnapshot: 0n,
        blocks: [EMPTY_GENESIS, block(1)],
        minipool: [],
      });
      await storage.createStreamStorage(id, snapshotBlock(0));
      const data = await storage.debugReadStreamData(id);
      assert.deepEqual(data.miniblocks, [snapshotBlock(0), block(1)]);
      assert.deepEqual(data.events, []);
    },
  );

  const sound: [string, PlantedStream][] = [
    ["a later snapshot", {
      latestSnapshot: 1n,
      blocks: [EMPTY_GENESIS, { ...snapshotBlock(1) }],
      minipool: minipool(2, 0),
    }],
    ["no genesis", plantedStream(run(3, 4))],
    ["an empty block that is not the genesis", {
      ...plantedStream(run(0, 1)),
      blocks: [block(0), { number: 1n, data: new Uint8Array() }],
    }],
    ["ephemeral blocks", {
      latestSnapshot: 0n,
      ephemeral: true,
      blocks: [EMPTY_GENESIS],
      minipool: [],
    }],
  ];
  for (const [kind, rows] of sound) {
    suite.planted(
      `createStreamStorage does not repair a stream with ${kind}`,
      async ({ storage, plant }) => {
        const id = newStreamId();
        await plant(id, rows);
        const before = await storage.debugReadStreamData(id);
        await assertFails(storage.createStreamStorage(id, block(0)), {
          code: "ALREADY_EXISTS",
          reason: "stream_exists",
        });
        assert.deepEqual(await storage.debugReadStreamData(id), before);
      },
    );
  }

  suite.planted(
    "createStreamStorage removes left-over rows",
    async ({ storage, plant }) => {
      const id = newStreamId();
      await plant(id, {
        ...plantedStream(run(0, 3), { snapshots: [0, 3], events: 2 }),
        candidates: [candidate(5)],
        orphaned: true,
      });
      await storage.createStreamStorage(id, {
        ...block(0),
        data: bytes("new"),
      });
      assert.deepEqual((await contentOf(storage, id)).view, {
        snapshotMiniblockOffset: 0,
        miniblocks: [{ number: 0n, data: bytes("new") }],
        minipoolEnvelopes: [],
      });
      assert.equal(await storage.getLastMiniblockNumber(id), 0n);
      assert.equal(await storage.getMiniblockCandidateCount(id, 5n), 0);
    },
  );
}

function testDeleting(suite: Suite): void {
  suite.test("deleteStream removes everything of one stream and nothing else", async ({ storage }) => {
    const [id, other] = [newStreamId(), newStreamId()];
    for (const each of [id, other]) {
      await storage.createStreamStorage(each, block(0));
      await storage.writeEvent(each, 1n, 0, bytes("first"));
      await storage.writeMiniblockCandidate(each, candidate(1));
    }
    const before = await contentOf(storage, other);
    await storage.deleteStream(id);
    assert.deepEqual(await contentOf(storage, other), {
      ...before,
      streams: 1,
    });
    assert.equal(await storage.getMiniblockCandidateCount(other, 1n), 1);
    await assertFails(storage.readStreamFromLastSnapshot(id, 0), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
    });
    await assertFails(storage.deleteStream(id), { code: "NOT_FOUND" });
  });

  suite.test("a deleted stream can be created anew, empty", async ({ storage }) => {
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    await storage.writeEvent(id, 1n, 0, bytes("first"));
    await storage.writeMiniblockCandidate(id, candidate(1));
    await storage.deleteStream(id);
    await storage.createStreamStorage(id, block(0));
    await assertServes(storage, id, { blocks: [0n], latest: 0n, events: [] });
    assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 0);
  });
}

function testListing(suite: Suite): void {
  testFaultyCalls(suite, "getStreams", [
    ...faultsOf(
      "options.limit",
      [["zero", 0], ...BAD_COUNTS],
      (storage, limit) => storage.getStreams({ limit }),
    ),
    {
      fault: "no id",
      argument: "options.after",
      code: "BAD_STREAM_ID",
      call: (storage) => storage.getStreams({ after: "10" as StreamId }),
    },
  ]);

  suite.test("getStreams returns ascending ids in pages, getStreamsNumber counts all", async ({ storage }) => {
    assert.deepEqual(await storage.getStreams(), []);
    assert.equal(await storage.getStreamsNumber(), 0);
    const ids = run(1, 7).map((n) =>
      newStreamId(n % 2n === 0n ? "media" : "space")
    );
    for (const id of ids) await storage.createStreamStorage(id, block(0));
    const sorted = [...ids].sort();
    assert.deepEqual(await storage.getStreams(), sorted);
    assert.equal(await storage.getStreamsNumber(), 7);

    assert.deepEqual(
      await storage.getStreams({ limit: 3 }),
      sorted.slice(0, 3),
    );
    const after = (index: number) => sorted[index] as StreamId;
    assert.deepEqual(
      await storage.getStreams({ after: after(2), limit: 3 }),
      sorted.slice(3, 6),
    );
    assert.deepEqual(
      await storage.getStreams({ after: after(5) }),
      sorted.slice(6),
    );
    assert.deepEqual(await storage.getStreams({ after: after(6) }), []);
    await storage.deleteStream(after(3));
    assert.deepEqual(
      await storage.getStreams({ after: after(3), limit: 100 }),
      sorted.slice(4),
    );
  });
}
