/**
 * What the trimmer holds true of a stream, or of its rules, ends with what
 * changes them.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";
import { openSession } from "../support/migration_connection.ts";

const busy = { workerConcurrency: 2, ephemeralSweepIntervalMs: 0 };

/** Every tenth with a snapshot. */
function blocks(first: number, last: number) {
  return run(first, last).map((n) =>
    n % 10n === 0n ? snapshotBlock(n) : block(n)
  );
}

/** Waits until the trimmer has done all that a trimming would. */
async function nothingIsLeft(store: MaintenanceStore): Promise<void> {
  for (;;) {
    const looks = looksOf(store);
    const { maintenance } = store.storage;
    const { trimmed } = await maintenance.trimStreams({ dryRun: true });
    if (trimmed === 0) return;
    await store.logged(() => looksOf(store) > looks);
  }
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
      await nothingIsLeft(store);
      await change(store, id);
      await grow(store, id, 630);
      await nothingIsLeft(store);
      const [range] = await storage.getMiniblockNumberRanges(id);
      assert.ok(range!.startInclusive <= 1n);
      await store.assertInvariants();
    });
  }
});

describe("updateTrimming", () => {
  for (const who of ["the worker", "a caller"]) {
    it(`stops what ${who} cuts by the old rules`, async () => {
      const rules = { historyMiniblocks: { default: 10n }, batchSize: 1 };
      await using store = await openMaintenanceStore({
        ...busy,
        operationTimeoutMs: 30_000,
      });
      const { storage } = store;
      const { maintenance } = storage;
      const id = newStreamId("channel");
      await storage.reinitializeStreamStorage(id, blocks(0, 90), 90n, false);
      // The step that takes this block waits until the test lets it.
      const { partitionSuffix } = await storage.debugReadStreamStatistics(id);
      await store.sql(
        `CREATE FUNCTION @.wait() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN PERFORM pg_advisory_xact_lock(hashtext(''${id}''));
            RETURN OLD; END';
        CREATE TRIGGER wait BEFORE DELETE ON @.miniblocks_${partitionSuffix}
          FOR EACH ROW WHEN (OLD.seq_num = 5) EXECUTE FUNCTION @.wait()`,
      );
      await using holder = await openSession(store.test.url);
      await holder.script(`SELECT pg_advisory_lock(hashtext('${id}'))`);
      const activationFactor = who === "the worker" ? 1 : 0;
      await maintenance.updateTrimming({ ...rules, activationFactor });
      const asked = who === "the worker"
        ? undefined
        : maintenance.trimStreams({ streamId: id });
      const isWaited = `SELECT 1 FROM pg_locks WHERE locktype = 'advisory'
        AND NOT granted AND objid::int8 = (hashtext('${id}')::int8 & 4294967295)`;
      while ((await holder.script(isWaited)).length === 0);
      const ends: string[] = [];
      const replaced = maintenance.updateTrimming({})
        .then(() => ends.push("replaced"));
      // Time enough to resolve for one that does not wait.
      for (let n = 0; n < 5; n++) await holder.script(isWaited);
      ends.push("let go");
      await holder.script(`SELECT pg_advisory_unlock(hashtext('${id}'))`);
      await replaced;
      assert.deepEqual(ends, ["let go", "replaced"]);
      const first = async () =>
        (await storage.getMiniblockNumberRanges(id))[0]!.startInclusive;
      const left = await first();
      assert.ok(left <= 6n, `cut on to ${left}`);
      // Behind whatever is still under way.
      await maintenance.trimStreams();
      const report = await asked;
      assert.equal(await first(), left);
      if (report !== undefined) assert.equal(report.miniblocks, Number(left));
      // The rest goes by rules that hold.
      await maintenance.updateTrimming({ ...rules, activationFactor });
      await maintenance.trimStreams();
      assert.equal(await first(), 80n);
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
