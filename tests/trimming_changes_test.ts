/**
 * What the trimmer holds true of a stream, or of its rules, ends with what
 * changes them.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StreamId } from "../src/storage/stream_id.ts";
import {
  block,
  newStreamId,
  run,
  snapshotBlock,
} from "../src/testing/contract/support.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "./support/maintenance_store.ts";

const busy = { workerConcurrency: 2, ephemeralSweepIntervalMs: 0 };

/** Every tenth with a snapshot. */
function blocks(first: number, last: number) {
  return run(first, last).map((n) =>
    n % 10n === 0n ? snapshotBlock(n) : block(n)
  );
}

/** Adds the blocks up to this one, and waits until the trimmer has looked. */
async function grow(store: MaintenanceStore, id: StreamId, last: number) {
  const { storage } = store;
  const looks = looksOf(store);
  const first = await storage.getLastMiniblockNumber(id) + 1n;
  await storage.writeMiniblocks(
    id,
    blocks(Number(first), last),
    { generation: BigInt(last) + 1n, envelopes: [] },
    { generation: first, size: 0 },
  );
  await store.logged(() => looksOf(store) > looks);
}

function looksOf({ events }: MaintenanceStore): number {
  return events.filter(({ code, details }) =>
    code === "worker_ran" && details?.["worker"] === "stream_trimmer"
  ).reduce((sum, { details }) => sum + Number(details!["done"]), 0);
}

describe("Snapshots of a stream that has changed are cleared like others", () => {
  const ways: [
    string,
    (store: MaintenanceStore, id: StreamId) => Promise<unknown>,
  ][] = [
    [
      "filled up below",
      ({ storage }, id) => storage.writePrecedingMiniblocks(id, blocks(1, 299)),
    ],
    [
      "rebuilt",
      ({ storage }, id) =>
        storage.reinitializeStreamStorage(id, blocks(1, 620), 620n, true),
    ],
    ["deleted and made anew", async (store, id) => {
      await store.storage.deleteStream(id);
      await store.storage.createStreamStorage(id, snapshotBlock(0));
    }],
    ["made anew where another hand has deleted it", async (store, id) => {
      const { partitionSuffix: suffix } = await store.storage
        .debugReadStreamStatistics(id);
      for (
        const table of ["es", `miniblocks_${suffix}`, `minipools_${suffix}`]
      ) {
        await store.sql(`DELETE FROM @.${table} WHERE stream_id = '${id}'`);
      }
      await store.storage.createStreamStorage(id, snapshotBlock(0));
    }],
  ];
  for (const [what, change] of ways) {
    it(`when it is ${what}`, async () => {
      await using store = await openMaintenanceStore({
        ...busy,
        trimming: { activationFactor: 1, snapshotRetentionInterval: 100n },
      });
      const { storage } = store;
      const id = newStreamId("channel");
      await storage.reinitializeStreamStorage(
        id,
        blocks(300, 599),
        590n,
        false,
      );
      await grow(store, id, 600);
      const { maintenance } = storage;
      const looks = () => maintenance.trimStreams({ dryRun: true });
      assert.equal((await looks()).snapshots, 0);
      await change(store, id);
      await grow(store, id, 630);
      assert.deepEqual((await looks()).trimmedStreams, []);
      const [range] = await storage.getMiniblockNumberRanges(id);
      assert.ok(range!.startInclusive <= 1n);
      await store.assertInvariants();
    });
  }
});

describe("A target that was reached", () => {
  it("is cut again when the stream was filled up below it", async () => {
    const id = newStreamId("channel");
    await using store = await openMaintenanceStore(busy);
    const { storage } = store;
    await storage.reinitializeStreamStorage(id, blocks(200, 300), 300n, false);
    await storage.maintenance.updateTrimming({
      targets: [{ streamId: id, miniblock: 255n }],
    });
    await store.logged(() => looksOf(store) > 0);
    const first = async () =>
      (await storage.getMiniblockNumberRanges(id))[0]!.startInclusive;
    assert.equal(await first(), 250n);
    await storage.writePrecedingMiniblocks(id, blocks(230, 249));
    await store.logged(() => looksOf(store) > 1);
    assert.equal(await first(), 250n);
  });
});
