/**
 * The trimmer removes nothing for a reason that is no longer true, because it
 * can't restore anything. The tests change the tables of a real server behind
 * the store's back, like a failover that loses commits: the same stream and the
 * same block numbers have other data.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TrimmingOptions } from "../../src/postgres/trimming_options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  legacyBlock,
  minipool,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";

/** Options of {@linkcode plantTenths}. */
interface TenthStream {
  /** Blocks whose snapshots are inside their data, as legacy snapshots. */
  inside?: bigint[];
}

/** Makes a stream of blocks 0 to 62, of which every tenth has a snapshot. */
async function plantTenths(
  store: MaintenanceStore,
  { inside = [] }: TenthStream = {},
): Promise<{ id: StreamId; table: string }> {
  const id = newStreamId("channel");
  await store.plant(id, {
    latestSnapshot: 60n,
    blocks: run(0, 62).map((number) => {
      if (number % 10n !== 0n) return block(number);
      return inside.includes(number)
        ? { number, data: legacyBlock(number).data }
        : snapshotBlock(number);
    }),
    minipool: minipool(63n, 1),
  });
  const { partitionSuffix } = await store.storage.debugReadStreamStatistics(id);
  return { id, table: `@.miniblocks_${partitionSuffix}` };
}

async function firstOf({ storage }: MaintenanceStore, id: StreamId) {
  const { miniblocks } = await storage.debugReadStreamData(id);
  return miniblocks[0]!.number;
}

/** The reason for which `trimStreams` refuses the stream. */
async function refusalOf({ storage }: MaintenanceStore, streamId: StreamId) {
  const { refusals } = await storage.maintenance.trimStreams({ streamId });
  return refusals[0]?.reason;
}

const trimming: TrimmingOptions = { historyMiniblocks: { default: 1n } };

describe("A legacy snapshot that the store remembers", () => {
  const tenths = run(0, 6).map((n) => n * 10n);
  const remembering = async (inside: bigint[]) => {
    const store = await openMaintenanceStore({ trimming });
    const stream = await plantTenths(store, { inside });
    const [range] = await store.storage.getMiniblockNumberRanges(stream.id);
    assert.deepEqual(range!.snapshotSeqNums, tenths);
    return { store, ...stream };
  };
  /** Gives the blocks the data of block 1, which has no snapshot. */
  const replaced = (table: string, numbers: bigint[]) =>
    `UPDATE ${table} SET blockdata =
        (SELECT blockdata FROM ${table} WHERE seq_num = 1)
      WHERE seq_num IN (${numbers})`;

  it("is no reason to cut if the data no longer holds one", async () => {
    const { store, id, table } = await remembering(tenths);
    await using _ = store;
    await store.sql(replaced(table, [30n, 40n, 50n]));
    await store.storage.maintenance.trimStreams({ streamId: id });
    assert.equal(await firstOf(store, id), 20n);
    const [range] = await store.storage.getMiniblockNumberRanges(id);
    assert.deepEqual(range!.snapshotSeqNums, [20n, 60n]);
  });

  it("leaves the genesis in place if no snapshot is left to cut at", async () => {
    const { store, id, table } = await remembering(tenths);
    await using _ = store;
    await store.sql(replaced(table, [10n, 20n, 30n, 40n, 50n]));
    const { trimmed } = await store.storage.maintenance.trimStreams();
    assert.equal(trimmed, 0);
    assert.equal(await firstOf(store, id), 0n);
  });

  it("does not count as the latest one if the data no longer holds one", async () => {
    const { store, id, table } = await remembering([60n]);
    await using _ = store;
    await store.sql(replaced(table, [60n]));
    assert.equal(await refusalOf(store, id), "latest_snapshot_missing");
    assert.equal(await firstOf(store, id), 0n);
  });
});

describe("A step of a trimming", () => {
  /** Changes the tables once, after the first step and in its transaction. */
  const behindFirstStep = (table: string, change: string) =>
    `CREATE FUNCTION @.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF pg_trigger_depth() = 1 THEN ${change}; END IF;
        RETURN NULL;
      END $$;
      CREATE TRIGGER change AFTER DELETE OR UPDATE ON ${table}
        FOR EACH STATEMENT EXECUTE FUNCTION @.change()`;

  /**
   * What has changed; the blocks with their snapshot inside; the change; and
   * the reason or the first block of the next trimming.
   */
  const changes: [string, bigint[], string, string | bigint][] = [
    [
      "the snapshot at the cut is gone",
      [],
      "UPDATE @t SET snapshot = NULL WHERE seq_num = 50",
      40n,
    ],
    [
      "the block at the cut is another one",
      [50n],
      "UPDATE @t SET blockdata = 'other' WHERE seq_num = 50",
      40n,
    ],
    [
      "the latest snapshot is gone",
      [],
      "UPDATE @t SET snapshot = NULL WHERE seq_num = 60",
      "latest_snapshot_missing",
    ],
    [
      "the block with the latest snapshot is another one",
      [60n],
      "UPDATE @t SET blockdata = 'other' WHERE seq_num = 60",
      "latest_snapshot_missing",
    ],
    [
      "an earlier snapshot is the latest",
      [],
      "UPDATE @.es SET latest_snapshot_miniblock = 50",
      40n,
    ],
    [
      "the stream is an upload",
      [],
      "UPDATE @.es SET ephemeral = true",
      "ephemeral_stream",
    ],
    [
      "a block below the step is back",
      [],
      `INSERT INTO @t (stream_id, seq_num, blockdata)
        SELECT stream_id, 2, blockdata FROM @t WHERE seq_num = 9
        ON CONFLICT DO NOTHING`,
      "unexpected_gap",
    ],
    [
      "a block above the cut is missing",
      [],
      "DELETE FROM @t WHERE seq_num = 55",
      "unexpected_gap",
    ],
    ["the last block is lost", [], "DELETE FROM @t WHERE seq_num = 62", 50n],
  ];

  for (const [title, inside, change, next] of changes) {
    it(`deletes nothing if ${title}`, async () => {
      await using store = await openMaintenanceStore({
        trimming: { ...trimming, batchSize: 5 },
      });
      const { id, table } = await plantTenths(store, { inside });
      await store.sql(
        behindFirstStep(table, change.replaceAll("@t", table)),
      );
      const { maintenance } = store.storage;
      await assertFails(maintenance.trimStreams({ streamId: id }), {
        code: "DB_OPERATION_FAILURE",
        reason: "stream_changed",
      });
      const stored = await store.sql(
        `SELECT min(seq_num) FROM ${table} WHERE seq_num > 2`,
      );
      assert.deepEqual(stored, [["5"]], "More than the first step was done");
      await store.sql(`DROP TRIGGER change ON ${table}`);
      if (typeof next === "string") {
        assert.equal(await refusalOf(store, id), next);
      } else {
        await maintenance.trimStreams({ streamId: id });
        assert.equal(await firstOf(store, id), next);
      }
    });
  }

  it("clears no snapshot in favour of one that is gone", async () => {
    await using store = await openMaintenanceStore({
      trimming: { snapshotRetentionInterval: 100n, batchSize: 1 },
    });
    const id = newStreamId("channel");
    await store.plant(id, {
      latestSnapshot: 300n,
      blocks: run(0, 300).map((number) =>
        number % 10n === 0n ? snapshotBlock(number) : block(number)
      ),
      minipool: minipool(301n, 1),
    });
    const { maintenance } = store.storage;
    const { partitionSuffix } = await store.storage
      .debugReadStreamStatistics(id);
    const table = `@.miniblocks_${partitionSuffix}`;
    // Snapshot 100 goes after the step that clears 110 in its favour.
    await store.sql(behindFirstStep(
      table,
      `UPDATE ${table} SET snapshot = NULL WHERE seq_num = 100 AND EXISTS (
        SELECT 1 FROM ${table} WHERE seq_num = 110 AND snapshot IS NULL)`,
    ));
    await assertFails(maintenance.trimStreams({ streamId: id }), {
      code: "DB_OPERATION_FAILURE",
      reason: "stream_changed",
    });
    await store.sql(`DROP TRIGGER change ON ${table}`);
    await maintenance.trimStreams({ streamId: id });
    const [range] = await store.storage.getMiniblockNumberRanges(id);
    assert.deepEqual(
      range!.snapshotSeqNums.filter((number) => number < 200n),
      [0n, 120n],
    );
  });
});
