/**
 * Trimming on a caller's demand, on a real server: what goes, what is refused, and
 * what an interruption or concurrent writers leave.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
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
import {
  addSnapshot,
  busy,
  channelIds,
  everyNth,
} from "../support/trimming.ts";

describe("trimStreams", () => {
  it("trims all streams by the rules of their types, and reports it", async () => {
    await using store = await openMaintenanceStore({
      trimming: {
        historyMiniblocks: { channel: 20n, default: 50n },
        minSnapshotEvents: { space: 0, default: 100 },
        snapshotRetentionInterval: 100n,
      },
    });
    const { maintenance } = store.storage;
    const [channel] = channelIds(1) as [StreamId];
    const [space, media] = [newStreamId("space"), newStreamId("media")];
    const unknown = `00${channel.slice(2)}` as StreamId;
    for (const id of [channel, space, media, unknown]) {
      await store.plant(id, everyNth(10, 0, 300));
    }
    const upload = newStreamId("media");
    await store.storage.writeEphemeralMiniblock(upload, block(1));
    const archive = newStreamId("channel");
    await store.storage.createStreamArchiveStorage(archive);
    await store.storage.writeArchiveMiniblocks(
      archive,
      0n,
      run(0, 3).map((number) => snapshotBlock(number)),
    );

    const dry = await maintenance.trimStreams({ dryRun: true });
    const report = await maintenance.trimStreams();
    assert.deepEqual({ ...dry, dryRun: false }, report);
    // Spaces are switched off and media have no rule; uploads and archives are
    // never trimmed. The default applies to the unknown type.
    assert.deepEqual(
      report.trimmedStreams.map(({ streamId, trimToMbExclusive, ...rest }) => [
        streamId,
        trimToMbExclusive,
        rest.miniblocks,
        rest.nullifySnapshotMbs,
      ]),
      [[unknown, 250n, 250, []], [channel, 280n, 280, []]].sort(),
    );
    assert.deepEqual([report.trimmed, report.miniblocks], [2, 530]);
    assert.deepEqual(report.refusals, []);
    for (const id of [space, media]) {
      assert.equal(await firstOf(store, id), 0n);
    }
    const one = await maintenance.trimStreams({ streamId: space });
    assert.equal(one.trimmed, 0);
    await store.assertInvariants();
  });

  it("clears the same snapshots in small steps as in one", async () => {
    for (const batchSize of [1, 3, 1000]) {
      await using store = await openMaintenanceStore({
        partitions: 1,
        trimming: { snapshotRetentionInterval: 100n, batchSize },
      });
      const [id] = channelIds(1) as [StreamId];
      await store.plant(id, everyNth(10, 5, 405));
      const { maintenance } = store.storage;
      const options = { streamId: id, dryRun: true };
      const dry = await maintenance.trimStreams(options);
      const report = await maintenance.trimStreams({ streamId: id });
      assert.deepEqual({ ...dry, dryRun: false }, report);
      const [range] = await store.storage.getMiniblockNumberRanges(id);
      const newest = run(310, 400).filter((n) => n % 10n === 0n);
      assert.deepEqual(range!.snapshotSeqNums, [
        10n,
        100n,
        200n,
        300n,
        ...newest,
      ]);
      assert.equal(report.snapshots, 26);
    }
  });

  it("refuses and reports damaged streams, and trims the others", async () => {
    await using store = await openMaintenanceStore({
      trimming: { historyMiniblocks: { default: 10n } },
    });
    const { maintenance } = store.storage;
    const [gap, lone, lost, whole] = channelIds(4) as [
      StreamId,
      StreamId,
      StreamId,
      StreamId,
    ];
    const gapped = everyNth(10, 0, 60);
    gapped.blocks.splice(20, 1);
    await store.plant(gap, gapped);
    const genesis = everyNth(10, 0, 60);
    genesis.blocks.splice(1, 19);
    await store.plant(lone, genesis);
    await store.plant(lost, { ...everyNth(10, 0, 60), latestSnapshot: 55n });
    await store.plant(whole, everyNth(10, 0, 60));
    const report = await maintenance.trimStreams();
    assert.deepEqual(report.refusals, [
      { streamId: gap, reason: "unexpected_gap" },
      { streamId: lost, reason: "latest_snapshot_missing" },
    ]);
    assert.deepEqual(report.trimmedStreams.map(({ streamId }) => streamId), [
      lone,
      whole,
    ]);
    assert.equal(await firstOf(store, lone), 50n);
    assert.equal(await firstOf(store, whole), 50n);
    assert.equal(await firstOf(store, gap), 0n);
  });

  it("reports why it does not trim the stream that the caller names", async () => {
    await using store = await openMaintenanceStore({
      trimming: { historyMiniblocks: { default: 1n, media: 1n } },
    });
    const { maintenance } = store.storage;
    const [archive, missing] = channelIds(2) as [StreamId, StreamId];
    const [upload, elsewhere] = [newStreamId("media"), newStreamId("media")];
    await store.storage.createStreamArchiveStorage(archive);
    await store.storage.writeEphemeralMiniblock(upload, block(1));
    await store.plant(elsewhere, everyNth(1, 0, 9));
    await store.sql(
      `UPDATE @.es SET blockdata_ext = 'S' WHERE stream_id = '${elsewhere}'`,
    );
    for (
      const [streamId, reason] of [
        [archive, "archive_stream"],
        [upload, "ephemeral_stream"],
        [elsewhere, "stored_externally"],
      ] as const
    ) {
      const report = await maintenance.trimStreams({ streamId });
      assert.deepEqual(report.refusals, [{ streamId, reason }]);
    }
    await assertFails(maintenance.trimStreams({ streamId: missing }), {
      code: "NOT_FOUND",
      reason: "stream_not_found",
      operation: "trimStreams",
    });
  });

  it("refuses bad options, and names all faults of the rules", async () => {
    await using store = await openMaintenanceStore();
    const { maintenance } = store.storage;
    await assertFails(
      maintenance.trimStreams({ streamId: "no" as StreamId }),
      { code: "BAD_STREAM_ID", operation: "trimStreams" },
    );
    await assertFails(
      maintenance.trimStreams({ dryRun: "yes" as never }),
      { code: "INVALID_ARGUMENT" },
    );
    const bad = {
      activationFactor: -1,
      historyMiniblocks: { channel: 1 },
      minSnapshotEvents: { nothing: 1 },
      snapshotRetentionInterval: 99n,
      targets: [{ streamId: "no", miniblock: -1n }],
      batchSize: 0,
      other: true,
    } as never;
    const faultsOf = (error: unknown) => {
      assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
      const faults = error.details["faults"] as { option: string }[];
      return faults.map(({ option }) => option).sort();
    };
    const expected = [
      "trimming",
      "trimming.activationFactor",
      "trimming.batchSize",
      "trimming.historyMiniblocks.channel",
      "trimming.minSnapshotEvents",
      "trimming.snapshotRetentionInterval",
      "trimming.targets.0.miniblock",
      "trimming.targets.0.streamId",
    ];
    await assert.rejects(maintenance.updateTrimming(bad), (error) => {
      assert.deepEqual(faultsOf(error), expected);
      return true;
    });
    await assert.rejects(
      openMaintenanceStore({ trimming: bad }),
      (error) => {
        assert.deepEqual(faultsOf(error), expected);
        return true;
      },
    );
  });
});

describe("Trimming", () => {
  it("that was interrupted is finished by the next call", async () => {
    await using store = await openMaintenanceStore({
      trimming: {
        historyMiniblocks: { default: 1n },
        snapshotRetentionInterval: 100n,
        batchSize: 10,
      },
    });
    const [id] = channelIds(1) as [StreamId];
    await store.plant(id, everyNth(10, 0, 200));
    const { maintenance } = store.storage;
    const whole = await maintenance.trimStreams({ dryRun: true });
    // Stops after the third step, like a process that dies there.
    const table = await tableOf(store, id);
    await store.sql(
      `CREATE FUNCTION @.stop() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''enough''; END';
      CREATE TRIGGER stop BEFORE DELETE ON @.${table} FOR EACH ROW
        WHEN (OLD.seq_num = 33) EXECUTE FUNCTION @.stop()`,
    );
    await assertFails(maintenance.trimStreams({ streamId: id }), {
      code: "DB_OPERATION_FAILURE",
    });
    const first = await firstOf(store, id);
    assert.equal(first, 30n, "It did not pause at a snapshot");
    await store.assertInvariants();
    await store.sql(`DROP TRIGGER stop ON @.${table}`);
    const rest = await maintenance.trimStreams();
    assert.equal(await firstOf(store, id), 190n);
    assert.equal(rest.miniblocks, whole.miniblocks - 30);
    await assert.rejects(
      maintenance.trimStreams({ signal: AbortSignal.abort() }),
      (error) => isStreamStorageError(error, "CANCELED"),
    );
  });

  it("at the same time as writes and reads disturbs none of them", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      maxConnections: 8,
      trimming: {
        activationFactor: 1,
        historyMiniblocks: { default: 3n },
        snapshotRetentionInterval: 100n,
        batchSize: 2,
      },
    });
    const { storage } = store;
    const streams = channelIds(4);
    await Promise.all(streams.map(async (id) => {
      await storage.createStreamStorage(id, snapshotBlock(0));
      for (let n = 0; n < 40; n++) {
        await addSnapshot(storage, id);
        const generation = BigInt(n + 2);
        await storage.writeEvent(id, generation, 0, new Uint8Array([n]));
        const { miniblocks } = await storage.readStreamFromLastSnapshot(id, 9);
        assert.equal(miniblocks.at(-1)!.number, generation - 1n);
        await storage.writeMiniblocks(
          id,
          [block(generation)],
          { generation: generation + 1n, envelopes: [] },
          { generation, size: 1 },
        ).catch(() => assert.fail("The minipool has changed"));
        n++;
      }
    }));
    const report = await storage.maintenance.trimStreams();
    assert.deepEqual(report.failures, []);
    for (const id of streams) {
      const ranges = await storage.getMiniblockNumberRanges(id);
      assert.equal(ranges.length, 1);
      assert.equal(ranges[0]!.endInclusive, 40n);
      assert.equal(ranges[0]!.startInclusive, 35n);
    }
    await store.assertInvariants();
  });
});

/** The name of the table that holds the stream's blocks. */
async function tableOf(
  { storage }: MaintenanceStore,
  streamId: StreamId,
): Promise<string> {
  const { partitionSuffix } = await storage.debugReadStreamStatistics(streamId);
  return `miniblocks_${partitionSuffix}`;
}
