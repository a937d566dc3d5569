/**
 * The trimmer forgets what it knows of a stream when the stream changes, and
 * stops at once when its rules change. Against a real server.
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
  firstOf,
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";
import { openSession } from "../support/migration_connection.ts";
import { busy, trimmings } from "../support/trimming.ts";

/** These blocks, of which every tenth has a snapshot. */
function blocks(first: number, last: number) {
  return run(first, last).map((n) =>
    n % 10n === 0n ? snapshotBlock(n) : block(n)
  );
}

/** Waits until a dry run finds nothing to trim. */
async function nothingIsLeft(store: MaintenanceStore): Promise<void> {
  for (;;) {
    const looks = trimmings(store);
    const { maintenance } = store.storage;
    const { trimmed } = await maintenance.trimStreams({ dryRun: true });
    if (trimmed === 0) return;
    await store.logged(() => trimmings(store) > looks);
  }
}

/** Adds the blocks up to this one, and waits until the trimmer has looked. */
async function grow(store: MaintenanceStore, id: StreamId, last: number) {
  const { storage } = store;
  const looks = trimmings(store);
  const first = await storage.getLastMiniblockNumber(id) + 1n;
  await storage.writeMiniblocks(
    id,
    blocks(Number(first), last),
    { generation: BigInt(last) + 1n, envelopes: [] },
    { generation: first, size: 0 },
  );
  await store.logged(() => trimmings(store) > looks);
}

describe("The trimmer", () => {
  const ways: [
    string,
    (store: MaintenanceStore, id: StreamId) => Promise<unknown>,
  ][] = [
    [
      "filled below its first block",
      ({ storage }, id) => storage.writePrecedingMiniblocks(id, blocks(1, 299)),
    ],
    [
      "rebuilt",
      ({ storage }, id) =>
        storage.reinitializeStreamStorage(id, blocks(1, 620), 620n, true),
    ],
    ["deleted and created again", async (store, id) => {
      await store.storage.deleteStream(id);
      await store.storage.createStreamStorage(id, snapshotBlock(0));
    }],
    ["created again after a node has deleted it", async (store, id) => {
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
    it(`clears all snapshots that are due in a stream that was ${what}`, async () => {
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
    it(`stops a trimming by ${who} that follows the old rules`, async () => {
      const rules = { historyMiniblocks: { default: 10n }, batchSize: 1 };
      await using store = await openMaintenanceStore({
        ...busy,
        operationTimeoutMs: 30_000,
      });
      const { storage } = store;
      const { maintenance } = storage;
      const id = newStreamId("channel");
      await storage.reinitializeStreamStorage(id, blocks(0, 90), 90n, false);
      // The step that deletes this block waits until the test unlocks it.
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
      // An update that does not wait has time enough to resolve.
      for (let n = 0; n < 5; n++) await holder.script(isWaited);
      ends.push("unlocked");
      await holder.script(`SELECT pg_advisory_unlock(hashtext('${id}'))`);
      await replaced;
      assert.deepEqual(ends, ["unlocked", "replaced"]);
      const first = () => firstOf(store, id);
      const left = await first();
      assert.ok(left <= 6n, `Cut on to ${left}`);
      // This call waits for any run that is still in flight.
      await maintenance.trimStreams();
      const report = await asked;
      assert.equal(await first(), left);
      if (report !== undefined) assert.equal(report.miniblocks, Number(left));
      // The new rules remove the rest.
      await maintenance.updateTrimming({ ...rules, activationFactor });
      await maintenance.trimStreams();
      assert.equal(await first(), 80n);
    });
  }
});

describe("A target that was reached", () => {
  it("is cut again if the stream is filled below it", async () => {
    const id = newStreamId("channel");
    await using store = await openMaintenanceStore(busy);
    const { storage } = store;
    await storage.reinitializeStreamStorage(id, blocks(200, 300), 300n, false);
    await storage.maintenance.updateTrimming({
      targets: [{ streamId: id, miniblock: 255n }],
    });
    await store.logged(() => trimmings(store) > 0);
    const first = () => firstOf(store, id);
    assert.equal(await first(), 250n);
    await storage.writePrecedingMiniblocks(id, blocks(230, 249));
    await store.logged(() => trimmings(store) > 1);
    assert.equal(await first(), 250n);
  });
});
