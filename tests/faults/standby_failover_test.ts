/**
 * A failover to a real standby that lacks the last commits. What the store
 * remembers about its streams was true on the dead server and is false on the
 * new one. It must not delete, accept or refuse anything because of it.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  blockBy,
  bytes,
  legacyBlock,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { assertInvariants } from "../support/invariants.ts";
import { firstOf } from "../support/maintenance_store.ts";
import { openSession } from "../support/migration_connection.ts";
import { type HostOrder, ReplicatedPair } from "../support/standby.ts";

const ground = { schema: "standby", partitions: 1 };

const open = (url: string) =>
  openStreamStorage({
    url,
    ...ground,
    startupDelayMs: 0,
    maxConnections: 4,
    // No worker: each test decides when to trim.
    workerConcurrency: 0,
    // Leaves time to find the other server, also on a slow machine.
    operationTimeoutMs: 30_000,
    trimming: { historyMiniblocks: { channel: 3n } },
    quotas: { minipoolBytes: 10_000, blocksSinceSnapshot: 10 },
  });

/** A memory of a stream that the failover makes false. */
interface Belief {
  /** Makes what both servers will have. */
  replicated(storage: PostgresStreamStorage, id: StreamId): Promise<void>;
  /** Makes what is acknowledged, but only on the primary. */
  lost(storage: PostgresStreamStorage, id: StreamId): Promise<void>;
  /** Checks the store after the failover. */
  after(storage: PostgresStreamStorage, id: StreamId): Promise<void>;
}

/** Adds the blocks after the last one; the minipool must be empty. */
async function add(
  storage: PostgresStreamStorage,
  id: StreamId,
  blocks: MiniblockDescriptor[],
): Promise<void> {
  const generation = blocks[0]!.number;
  await storage.writeMiniblocks(
    id,
    blocks,
    { generation: blocks.at(-1)!.number + 1n, envelopes: [] },
    { generation, size: 0 },
  );
}

/** Blocks 1 to 10, the last with a snapshot; the given ones replace theirs. */
function upToSnapshot(...others: MiniblockDescriptor[]): MiniblockDescriptor[] {
  return run(1, 10).map((number) =>
    others.find((other) => other.number === number) ??
      (number === 10n ? snapshotBlock(number) : block(number))
  );
}

async function snapshotsOf(
  storage: PostgresStreamStorage,
  id: StreamId,
): Promise<bigint[]> {
  const ranges = await storage.getMiniblockNumberRanges(id);
  return ranges.flatMap(({ snapshotSeqNums }) => snapshotSeqNums);
}

const kilobyte = new Uint8Array(1000).fill(7);

/** Adds events of 1000 bytes at these slots of generation 1. */
async function addKilobytes(
  storage: PostgresStreamStorage,
  id: StreamId,
  from: number,
  to: number,
): Promise<void> {
  for (let slot = from; slot <= to; slot++) {
    await storage.writeEvent(id, 1n, slot, kilobyte);
  }
}

const create = (storage: PostgresStreamStorage, id: StreamId) =>
  storage.createStreamStorage(id, snapshotBlock(0));

const beliefs: Record<string, Belief> = {
  "a legacy snapshot in a lost block, so the genesis is not trimmed away": {
    replicated: create,
    lost: async (storage, id) => {
      await add(storage, id, upToSnapshot(legacyBlock(5)));
      // This reads the blocks and remembers which hold a snapshot.
      assert.deepEqual(await snapshotsOf(storage, id), [0n, 5n, 10n]);
    },
    after: async (storage, id) => {
      await add(storage, id, upToSnapshot(blockBy(2, 5)));
      // Block 5 was the nearest snapshot that keeps three blocks. The new block
      // 5 has none, so the genesis is the nearest, and every block is needed.
      const report = await storage.maintenance.trimStreams({ streamId: id });
      assert.deepEqual(report.refusals, []);
      assert.equal(report.miniblocks, 0);
      const { miniblocks } = await storage.readStreamFromLastSnapshot(id, 10);
      assert.deepEqual(miniblocks.map(({ number }) => number), run(0, 10));
      assert.deepEqual(await snapshotsOf(storage, id), [0n, 10n]);
    },
  },
  "a legacy snapshot in a lost block that the trimmer itself has read": {
    replicated: create,
    lost: async (storage, id) => {
      await add(storage, id, upToSnapshot(legacyBlock(5)));
      const options = { streamId: id, dryRun: true };
      const report = await storage.maintenance.trimStreams(options);
      assert.equal(report.miniblocks, 5);
    },
    after: async (storage, id) => {
      await add(storage, id, upToSnapshot(blockBy(2, 5)));
      await storage.maintenance.trimStreams();
      assert.equal(await firstOf({ storage }, id), 0n);
    },
  },
  "no legacy snapshot in a lost block, so the new one's is found": {
    replicated: create,
    lost: async (storage, id) => {
      await add(storage, id, upToSnapshot());
      assert.deepEqual(await snapshotsOf(storage, id), [0n, 10n]);
    },
    after: async (storage, id) => {
      await add(storage, id, upToSnapshot(legacyBlock(5), legacyBlock(10)));
      assert.deepEqual(await snapshotsOf(storage, id), [0n, 5n, 10n]);
      const report = await storage.maintenance.trimStreams({ streamId: id });
      assert.deepEqual(report.refusals, []);
      assert.equal(await firstOf({ storage }, id), 5n);
      // The checker of invariants does not know legacy snapshots.
      await add(storage, id, [snapshotBlock(11)]);
    },
  },
  "a small minipool of a stream that was created anew, so its quota is exact": {
    replicated: async (storage, id) => {
      await create(storage, id);
      await addKilobytes(storage, id, 0, 8);
    },
    lost: async (storage, id) => {
      await storage.deleteStream(id);
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("small"));
    },
    after: async (storage, id) => {
      await addKilobytes(storage, id, 9, 9);
      await assertFails(addKilobytes(storage, id, 10, 10), {
        code: "RESOURCE_EXHAUSTED",
        reason: "minipool_bytes_quota",
        details: { limit: 10_000, actual: 11_000 },
      });
    },
  },
  "a full minipool of a lost generation, so nothing is refused for it": {
    replicated: create,
    lost: (storage, id) => addKilobytes(storage, id, 0, 9),
    after: async (storage, id) => {
      await addKilobytes(storage, id, 0, 9);
      await assertFails(addKilobytes(storage, id, 10, 10), {
        code: "RESOURCE_EXHAUSTED",
        reason: "minipool_bytes_quota",
      });
    },
  },
  "a lost snapshot, so the quota of blocks behind it is exact": {
    replicated: create,
    lost: (storage, id) => add(storage, id, upToSnapshot()),
    after: async (storage, id) => {
      await add(storage, id, run(1, 10).map(block));
      await assertFails(add(storage, id, [block(11)]), {
        code: "RESOURCE_EXHAUSTED",
        reason: "blocks_since_snapshot_quota",
        details: { limit: 10, actual: 11 },
      });
    },
  },
  "the end of a minipool with lost events, so none is added behind a hole": {
    replicated: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("kept"));
    },
    lost: async (storage, id) => {
      await storage.writeEvent(id, 1n, 1, bytes("lost"));
      await storage.writeEvent(id, 1n, 2, bytes("lost"));
    },
    after: async (storage, id) => {
      await assertFails(storage.writeEvent(id, 1n, 3, bytes("hole")), {
        code: "DB_OPERATION_FAILURE",
        reason: "minipool_slot_mismatch",
      });
      await storage.writeEvent(id, 1n, 1, bytes("new"));
      const read = await storage.readStreamFromLastSnapshot(id, 0);
      assert.deepEqual(read.minipoolEnvelopes, [bytes("kept"), bytes("new")]);
    },
  },
  "a lost generation, so its minipool is not swapped unread": {
    replicated: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("kept"));
    },
    lost: async (storage, id) => {
      await storage.writeMiniblocks(
        id,
        [block(1)],
        { generation: 2n, envelopes: [bytes("lost")] },
        { generation: 1n, size: 1 },
      );
    },
    after: async (storage, id) => {
      await assertFails(
        storage.writeMiniblocks(
          id,
          [block(2)],
          { generation: 3n, envelopes: [] },
          { generation: 2n, size: 1 },
        ),
        { code: "INTERNAL" },
      );
      await storage.writeMiniblocks(
        id,
        [blockBy(2, 1)],
        { generation: 2n, envelopes: [bytes("new")] },
        { generation: 1n, size: 1 },
      );
      const read = await storage.readStreamFromLastSnapshot(id, 0);
      assert.deepEqual(read.minipoolEnvelopes, [bytes("new")]);
    },
  },
  "a lost stream, so it is created again": {
    replicated: () => Promise.resolve(),
    lost: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("lost"));
    },
    after: async (storage, id) => {
      await assertFails(storage.writeEvent(id, 1n, 1, bytes("hole")), {
        code: "NOT_FOUND",
      });
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("new"));
    },
  },
  "a lost deletion, so the stream goes on": {
    replicated: async (storage, id) => {
      await create(storage, id);
      await storage.writeEvent(id, 1n, 0, bytes("kept"));
    },
    lost: (storage, id) => storage.deleteStream(id),
    after: async (storage, id) => {
      await storage.writeEvent(id, 1n, 1, bytes("new"));
      const read = await storage.readStreamFromLastSnapshot(id, 0);
      assert.deepEqual(read.minipoolEnvelopes, [bytes("kept"), bytes("new")]);
    },
  },
};

/** Checks every stream on the server that took over. */
async function assertAllInvariants(pair: ReplicatedPair): Promise<void> {
  await using session = await openSession(pair.standby.url);
  await assertInvariants(session, ground);
}

for (const order of ["primary first", "standby first"] as const) {
  describe(`After a failover that lost commits (URL: ${order}), the store does not rely on`, () => {
    let pair: ReplicatedPair;
    let storage: PostgresStreamStorage;
    const ids = new Map<string, StreamId>();

    before(async () => {
      pair = await ReplicatedPair.start();
      storage = await open(pair.url(order));
      for (const [name, belief] of Object.entries(beliefs)) {
        const id = newStreamId("channel");
        ids.set(name, id);
        await belief.replicated(storage, id);
      }
      await pair.cut();
      for (const [name, belief] of Object.entries(beliefs)) {
        await belief.lost(storage, ids.get(name)!);
      }
      await pair.failOver();
    });
    after(async () => {
      await storage?.close();
      await pair?.[Symbol.asyncDispose]();
    });

    for (const [name, belief] of Object.entries(beliefs)) {
      it(name, async () => {
        const id = ids.get(name)!;
        try {
          await belief.after(storage, id);
          await assertAllInvariants(pair);
        } finally {
          // A broken stream must not fail the next test's check.
          await storage.deleteStream(id);
        }
      });
    }
  });
}

describe("Transaction numbers that a failover sets back", () => {
  /**
   * The new primary reuses the numbers of lost transactions. A row that such a
   * transaction locked last looks as if the lost one had locked it last.
   */
  const order: HostOrder = "primary first";
  const at = `FROM ${ground.schema}.es WHERE stream_id =`;

  /** Uses up all transaction numbers below the given one. */
  async function useUp(pair: ReplicatedPair, below: bigint): Promise<void> {
    for (let n = 0; n < 10_000; n++) {
      const [row] = await pair.standby.query(
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next",
      );
      const next = BigInt(String(row?.next));
      assert.ok(next <= below, "Expected the number to be free as yet");
      if (next === below) return;
      await pair.standby.query("SELECT pg_current_xact_id()");
    }
    assert.fail(`Expected to reach transaction ${below}`);
  }

  it("do not make a stream look unchanged that another session has locked", async () => {
    await using pair = await ReplicatedPair.start();
    await using storage = await open(pair.url(order));
    const id = newStreamId("channel");
    await create(storage, id);
    await storage.writeEvent(id, 1n, 0, bytes("kept"));
    await pair.cut();
    // The store's reconnection to the new primary needs some of the numbers.
    for (let n = 0; n < 50; n++) {
      await pair.primary.query("SELECT pg_current_xact_id()");
    }
    await storage.writeEvent(id, 1n, 1, bytes("lost"));
    const [{ xmax, ctid } = {}] = await pair.primary.query(
      `SELECT xmax::text, ctid::text ${at} '${id}'`,
    );
    await pair.failOver();
    // The store has reconnected, so it starts no transaction meanwhile.
    assert.equal(await storage.getLastMiniblockNumber(id), 0n);
    await useUp(pair, BigInt(String(xmax)));
    await pair.standby.query(
      `BEGIN; SELECT 1 ${at} '${id}' FOR UPDATE; COMMIT`,
    );
    const [row] = await pair.standby.query(
      `SELECT xmax::text, ctid::text ${at} '${id}'`,
    );
    assert.deepEqual(row, { xmax, ctid });
    await assertFails(storage.writeEvent(id, 1n, 2, bytes("hole")), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_slot_mismatch",
    });
    await storage.writeEvent(id, 1n, 1, bytes("new"));
    await assertAllInvariants(pair);
  });
});
