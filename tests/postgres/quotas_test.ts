/**
 * Each quota of a store, on a real server: what it refuses, when it warns, that
 * it counts writes in flight, and what it costs in round trips.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { QuotaOptions } from "../../src/postgres/quotas.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  candidate,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

const open = (quotas: QuotaOptions) =>
  openMaintenanceStore({ quotas, partitions: 1 });

async function newStream(storage: PostgresStreamStorage): Promise<StreamId> {
  const id = newStreamId();
  await storage.createStreamStorage(id, snapshotBlock(0));
  return id;
}

/** Adds blocks without a snapshot, or with one beside the last. */
function add(
  storage: PostgresStreamStorage,
  id: StreamId,
  numbers: bigint[],
  { snapshot = false, envelopes = [] as Uint8Array[] } = {},
): Promise<void> {
  const [first, last] = [numbers[0]!, numbers.at(-1)!];
  return storage.writeMiniblocks(
    id,
    numbers.map((number) =>
      snapshot && number === last ? snapshotBlock(number) : block(number)
    ),
    { generation: last + 1n, envelopes },
    { generation: first },
  );
}

function exhausted(reason: string, limit: number, actual: number) {
  return {
    code: "RESOURCE_EXHAUSTED",
    reason,
    details: { limit, actual },
  } as const;
}

/** The quotas and figures of the warnings, in order. */
function warnings({ events }: MaintenanceStore): [unknown, unknown][] {
  return events.filter(({ code }) => code === "quota_near").map((
    { details },
  ) => [details!["quota"], details!["actual"]]);
}

const bytes = (length: number) => new Uint8Array(length).fill(7);

describe("A quota of events", () => {
  it("warns, and then refuses the first event beyond it", async () => {
    await using store = await open({ minipoolEvents: 5, warnAt: 0.6 });
    const { storage } = store;
    const id = await newStream(storage);
    for (let slot = 0; slot < 5; slot++) {
      await storage.writeEvent(id, 1n, slot, bytes(1));
    }
    assert.deepEqual(warnings(store), [["minipoolEvents", 3]]);
    await assertFails(
      storage.writeEvent(id, 1n, 5, bytes(1)),
      {
        ...exhausted("minipool_events_quota", 5, 6),
        operation: "writeEvent",
      },
    );
    // The events that a block leaves are never refused: a swap only helps.
    const envelopes = run(0, 6).map(() => bytes(1));
    await add(storage, id, [1n], { envelopes });
    await assertFails(
      storage.writeEvent(id, 2n, 7, bytes(1)),
      exhausted("minipool_events_quota", 5, 8),
    );
    await add(storage, id, [2n]);
    await storage.writeEvent(id, 3n, 0, bytes(1));
  });
});

describe("A quota of bytes", () => {
  it("counts the writes that are in flight, in order", async () => {
    await using store = await open({ minipoolBytes: 55 });
    const { storage } = store;
    const id = await newStream(storage);
    const results = await Promise.allSettled(
      run(0, 7).map((slot) =>
        storage.writeEvent(id, 1n, Number(slot), bytes(10))
      ),
    );
    assert.deepEqual(
      results.map((result) =>
        result.status === "fulfilled" ? "" : result.reason.details.reason
      ),
      ["", "", "", "", "", ...run(5, 7).map(() => "minipool_bytes_quota")],
    );
    assert.deepEqual(warnings(store), [["minipoolBytes", 50]]);
    await storage.writeEvent(id, 1n, 5, bytes(5));
    await assertFails(
      storage.writeEvent(id, 1n, 6, bytes(1)),
      exhausted("minipool_bytes_quota", 55, 56),
    );
    await add(storage, id, [1n], { envelopes: [bytes(50)] });
    await assertFails(
      storage.writeEvent(id, 2n, 1, bytes(6)),
      exhausted("minipool_bytes_quota", 55, 56),
    );
    await storage.writeEvent(id, 2n, 1, bytes(5));
  });

  it("gets no room from a refused event for slot 0", async () => {
    await using store = await open({ minipoolBytes: 10_000 });
    const id = await newStream(store.storage);
    await store.storage.writeEvent(id, 1n, 0, bytes(9000));
    await store.storage.close();
    await store.reopen();
    const { storage } = store;
    await assertFails(storage.writeEvent(id, 1n, 0, bytes(10)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_slot_mismatch",
    });
    const results = await Promise.allSettled([
      storage.writeEvent(id, 1n, 0, bytes(10)),
      storage.writeEvent(id, 1n, 1, bytes(9980)),
      storage.writeEvent(id, 1n, 1, bytes(1000)),
    ]);
    assert.deepEqual(
      results.map((result) =>
        result.status === "fulfilled" ? "" : result.reason.details.reason
      ),
      ["minipool_slot_mismatch", "minipool_bytes_quota", ""],
    );
  });

  it("is exact after failures and restarts, and for a new stream of the same id", async () => {
    await using store = await open({ minipoolBytes: 100 });
    const id = await newStream(store.storage);
    await store.storage.writeEvent(id, 1n, 0, bytes(60));
    await assertFails(store.storage.writeEvent(id, 1n, 5, bytes(30)), {
      code: "DB_OPERATION_FAILURE",
      reason: "minipool_slot_mismatch",
    });
    await store.storage.close();
    await store.reopen();
    await assertFails(
      store.storage.writeEvent(id, 1n, 1, bytes(41)),
      exhausted("minipool_bytes_quota", 100, 101),
    );
    await store.storage.writeEvent(id, 1n, 1, bytes(40));
    await store.storage.deleteStream(id);
    await store.storage.createStreamStorage(id, snapshotBlock(0));
    await store.storage.writeEvent(id, 1n, 0, bytes(100));
    await store.storage.reinitializeStreamStorage(
      id,
      run(1, 3).map((number) => snapshotBlock(number)),
      3n,
      true,
    );
    await store.storage.writeEvent(id, 4n, 0, bytes(100));
  });
});

describe("A quota of candidates", () => {
  it("applies to one block number, and still reports an existing candidate", async () => {
    await using store = await open({ candidatesPerHeight: 2, warnAt: 1 });
    const { storage } = store;
    const id = await newStream(storage);
    const large = (hash: string) => ({
      ...candidate(9, hash),
      data: bytes(100_000),
    });
    for (const [of, make] of [[5, candidate], [9, large]] as const) {
      const at = (hash: string) =>
        of === 5 ? candidate(5, hash) : (make as typeof large)(hash);
      await storage.writeMiniblockCandidate(id, at("a"));
      await storage.writeMiniblockCandidate(id, at("b"));
      await assertFails(
        storage.writeMiniblockCandidate(id, at("c")),
        {
          ...exhausted("candidates_quota", 2, 3),
          operation: "writeMiniblockCandidate",
        },
      );
      await assertFails(storage.writeMiniblockCandidate(id, at("a")), {
        code: "ALREADY_EXISTS",
      });
      assert.equal(await storage.getMiniblockCandidateCount(id, BigInt(of)), 2);
    }
    assert.deepEqual(warnings(store), [
      ["candidatesPerHeight", 2],
      ["candidatesPerHeight", 2],
    ]);
  });

  it("holds for candidates that come at once", async () => {
    await using store = await open({ candidatesPerHeight: 3 });
    const { storage } = store;
    const id = await newStream(storage);
    const results = await Promise.allSettled(
      run(0, 9).map((n) =>
        storage.writeMiniblockCandidate(id, candidate(1, `hash ${n}`))
      ),
    );
    const done = results.filter(({ status }) => status === "fulfilled");
    assert.equal(done.length, 3);
    assert.equal(await storage.getMiniblockCandidateCount(id, 1n), 3);
  });
});

describe("A quota of blocks since the snapshot", () => {
  it("refuses further blocks until a snapshot comes", async () => {
    await using store = await open({ blocksSinceSnapshot: 5 });
    const id = await newStream(store.storage);
    await add(store.storage, id, run(1, 3));
    await add(store.storage, id, [4n]);
    assert.deepEqual(warnings(store), [["blocksSinceSnapshot", 4]]);
    await add(store.storage, id, [5n]);
    await assertFails(add(store.storage, id, [6n]), {
      ...exhausted("blocks_since_snapshot_quota", 5, 6),
      operation: "writeMiniblocks",
    });
    await store.storage.close();
    await store.reopen();
    const { storage } = store;
    await assertFails(
      add(storage, id, [6n]),
      exhausted("blocks_since_snapshot_quota", 5, 6),
    );
    await Promise.all([
      add(storage, id, run(6, 30), { snapshot: true }),
      add(storage, id, run(31, 35)),
    ]);
    await assertFails(
      add(storage, id, [36n]),
      exhausted("blocks_since_snapshot_quota", 5, 6),
    );
    await assertFails(
      storage.writeMiniblocks(
        id,
        [snapshotBlock(36), ...run(37, 42).map(block)],
        { generation: 43n, envelopes: [] },
        { generation: 36n },
      ),
      exhausted("blocks_since_snapshot_quota", 5, 6),
    );
    await assertFails(add(storage, newStreamId(), [1n]), { code: "NOT_FOUND" });
    await storage.deleteStream(id);
    await storage.createStreamStorage(id, snapshotBlock(0));
    await assertFails(
      add(storage, id, run(1, 6)),
      exhausted("blocks_since_snapshot_quota", 5, 6),
    );
    await add(storage, id, run(1, 5));
  });

  it("does not count from the snapshot of an earlier stream", async () => {
    await using store = await open({ blocksSinceSnapshot: 5 });
    const { storage } = store;
    const id = await newStream(storage);
    await add(storage, id, run(1, 4), { snapshot: true });
    const calls = [
      storage.deleteStream(id),
      storage.createStreamStorage(id, snapshotBlock(0)),
      add(storage, id, run(1, 4)),
    ];
    await Promise.all([
      ...calls,
      assertFails(
        add(storage, id, run(5, 8)),
        exhausted("blocks_since_snapshot_quota", 5, 8),
      ),
    ]);
    assert.equal(await storage.getLastMiniblockNumber(id), 4n);
  });
});

describe("Quotas", () => {
  it("cost no round trip for a known stream", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      maxConnections: 3,
      partitions: 1,
      quotas: {
        minipoolEvents: 3,
        minipoolBytes: 100,
        candidatesPerHeight: 2,
        blocksSinceSnapshot: 10,
      },
    });
    const { storage } = test;
    const costs: Record<string, number[]> = {};
    for (const round of [1, 2]) {
      const id = await newStream(storage);
      const calls: [string, () => Promise<void>][] = [
        ["first event", () => storage.writeEvent(id, 1n, 0, bytes(9))],
        ["next event", () => storage.writeEvent(id, 1n, 1, bytes(9))],
        [
          "candidate",
          () => storage.writeMiniblockCandidate(id, candidate(1, "a")),
        ],
        ["snapshot", () => add(storage, id, [1n], { snapshot: true })],
        ["block", () => add(storage, id, [2n], { envelopes: [bytes(9)] })],
        ["event behind it", () => storage.writeEvent(id, 3n, 1, bytes(9))],
        [
          "too many events",
          () =>
            storage.writeEvent(id, 3n, 3, bytes(9)).then(
              () => assert.fail(),
              () => {},
            ),
        ],
      ];
      for (const [name, call] of calls) {
        proxy.resetCounts();
        await call();
        if (round === 1) continue;
        costs[name] = [proxy.counts.roundTrips, proxy.counts.syncs];
      }
    }
    assert.deepEqual(costs, {
      "first event": [1, 1],
      "next event": [1, 1],
      "candidate": [1, 1],
      "snapshot": [1, 1],
      "block": [1, 1],
      "event behind it": [1, 1],
      "too many events": [0, 0],
    });
  });

  it("cost at most one round trip for an unknown stream", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      maxConnections: 3,
      partitions: 1,
      quotas: { minipoolBytes: 1000, blocksSinceSnapshot: 10 },
    });
    const { storage } = test;
    const together = async (generation: bigint, slots: bigint[]) => {
      proxy.resetCounts();
      await Promise.all(
        slots.map((slot) =>
          storage.writeEvent(id, generation, Number(slot), bytes(9))
        ),
      );
      return proxy.counts.roundTrips;
    };
    const id = await newStream(storage);
    assert.equal(await together(1n, run(0, 19)), 1, "a new stream is empty");
    // A rebuilt minipool is empty, too, but the store does not remember that.
    await storage.reinitializeStreamStorage(id, [snapshotBlock(1)], 1n, true);
    assert.equal(await together(2n, run(0, 19)), 2, "slot 0, then the rest");
  });

  it("are checked when the store is opened", async () => {
    const quotas = { minipoolEvents: -1, minipoolBytes: 0.5, warnAt: 0 };
    await assert.rejects(open(quotas), (error) => {
      assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
      const faults = error.details["faults"] as { option: string }[];
      assert.deepEqual(faults.map(({ option }) => option), [
        "quotas.minipoolEvents",
        "quotas.minipoolBytes",
        "quotas.warnAt",
      ]);
      return true;
    });
  });
});
