import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { resolveTrimming } from "../../src/postgres/live_options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  assertFails,
  block,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { StreamTrimmer } from "../../src/workers/stream_trimmer.ts";
import { DueStreams } from "../../src/workers/due_streams.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";

const busy = { workerConcurrency: 2, ephemeralSweepIntervalMs: 0 };

/** Every n-th block with a snapshot, up to the last. */
function every(n: number, first: number, last: number) {
  return plantedStream(run(first, last), {
    snapshots: run(first, last).filter((number) => number % BigInt(n) === 0n),
  });
}

/** The next block, with a snapshot. */
async function snapshot(
  storage: PostgresStreamStorage,
  streamId: StreamId,
): Promise<void> {
  const next = await storage.getLastMiniblockNumber(streamId) + 1n;
  await storage.writeMiniblocks(
    streamId,
    [snapshotBlock(next)],
    { generation: next + 1n, envelopes: [] },
    { generation: next, size: 0 },
  );
}

async function firstOf({ storage }: MaintenanceStore, streamId: StreamId) {
  const [range] = await storage.getMiniblockNumberRanges(streamId);
  return range?.startInclusive;
}

/** Ids in ascending order. */
function ids(count: number): StreamId[] {
  return Array.from({ length: count }, () => newStreamId("channel")).sort();
}

/** A run of the trimmer that has dealt with so many streams. */
function trimmed(done: number): (event: LogEvent) => boolean {
  return ({ code, details }) =>
    code === "worker_ran" && details?.["worker"] === "stream_trimmer" &&
    details["done"] === done;
}

/** How many streams the trimmer has dealt with by itself. */
function trimmings(store: MaintenanceStore): number {
  return store.events.filter(({ code, details }) =>
    code === "worker_ran" && details?.["worker"] === "stream_trimmer"
  ).reduce((sum, { details }) => sum + Number(details!["done"]), 0);
}

describe("trimStreams", () => {
  it("trims all streams by the rules of their types, and reports", async () => {
    await using store = await openMaintenanceStore({
      trimming: {
        historyMiniblocks: { channel: 20n, default: 50n },
        minSnapshotEvents: { space: 0, default: 100 },
        snapshotRetentionInterval: 100n,
      },
    });
    const { maintenance } = store.storage;
    const [channel] = ids(1) as [StreamId];
    const [space, media] = [newStreamId("space"), newStreamId("media")];
    const unknown = `00${channel.slice(2)}` as StreamId;
    for (const id of [channel, space, media, unknown]) {
      await store.plant(id, every(10, 0, 300));
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
    // A space's type is off, media is not named, the others are of no kind
    // that is trimmed; `unknown` is by the default.
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

  it("clears snapshots in small steps as in one", async () => {
    for (const batchSize of [1, 3, 1000]) {
      await using store = await openMaintenanceStore({
        partitions: 1,
        trimming: { snapshotRetentionInterval: 100n, batchSize },
      });
      const [id] = ids(1) as [StreamId];
      await store.plant(id, every(10, 5, 405));
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

  it("refuses gaps and says so, and goes on with the others", async () => {
    await using store = await openMaintenanceStore({
      trimming: { historyMiniblocks: { default: 10n } },
    });
    const { maintenance } = store.storage;
    const [gap, lone, lost, whole] = ids(4) as [
      StreamId,
      StreamId,
      StreamId,
      StreamId,
    ];
    const gapped = every(10, 0, 60);
    gapped.blocks.splice(20, 1);
    await store.plant(gap, gapped);
    const genesis = every(10, 0, 60);
    genesis.blocks.splice(1, 19);
    await store.plant(lone, genesis);
    await store.plant(lost, { ...every(10, 0, 60), latestSnapshot: 55n });
    await store.plant(whole, every(10, 0, 60));
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

  it("tells of a stream that was asked for why it is not trimmed", async () => {
    await using store = await openMaintenanceStore({
      trimming: { historyMiniblocks: { default: 1n, media: 1n } },
    });
    const { maintenance } = store.storage;
    const [archive, missing] = ids(2) as [StreamId, StreamId];
    const [upload, elsewhere] = [newStreamId("media"), newStreamId("media")];
    await store.storage.createStreamArchiveStorage(archive);
    await store.storage.writeEphemeralMiniblock(upload, block(1));
    await store.plant(elsewhere, every(1, 0, 9));
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

  it("checks its options", async () => {
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

describe("The trimmer in the background", () => {
  it("trims at every n-th snapshot, which a restart does not forget", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 3, historyMiniblocks: { default: 1n } },
    });
    const [id, other] = ids(2) as [StreamId, StreamId];
    for (const streamId of [id, other]) {
      await store.storage.createStreamStorage(streamId, snapshotBlock(0));
    }
    await snapshot(store.storage, id);
    await snapshot(store.storage, id);
    await store.storage.close();
    await store.reopen();
    await snapshot(store.storage, other);
    await snapshot(store.storage, id);
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, id), 2n);
    assert.equal(await firstOf(store, other), 0n);
    for (let n = 4; n <= 5; n++) await snapshot(store.storage, id);
    await store.storage.close();
    await store.reopen();
    await snapshot(store.storage, id);
    await store.logged(() => trimmings(store) >= 2);
    assert.equal(await firstOf(store, id), 5n);
    await store.storage.close();
    assert.equal(trimmings(store), 2, "at the 3rd and the 6th only");
    await store.assertInvariants();
  });

  it("finds what was due when the process died, from where it was", async () => {
    const trimming = {
      activationFactor: 2,
      historyMiniblocks: { default: 1n },
    };
    // Nothing runs by itself: as if it had died behind each commit.
    await using store = await openMaintenanceStore({ trimming });
    const streams = ids(5);
    for (const [i, id] of streams.entries()) {
      await store.storage.createStreamStorage(id, snapshotBlock(0));
      for (let n = 0; n < (i === 2 ? 1 : 2); n++) {
        await snapshot(store.storage, id);
      }
    }
    await store.storage.close();
    // It had come as far as the fourth.
    await store.sql(
      `INSERT INTO @.stream_storage_workers (name, cursor)
        VALUES ('stream_trimmer', '${streams[3]}')`,
    );
    await store.reopen({ ...busy, trimming });
    await store.logged(() => trimmings(store) >= 4);
    const firsts = await Promise.all(streams.map((id) => firstOf(store, id)));
    assert.deepEqual(firsts, [1n, 1n, 0n, 1n, 1n]);
    const cursor = "SELECT cursor FROM @.stream_storage_workers";
    await store.storage.close();
    assert.deepEqual(await store.sql(cursor), [[null]], "an orderly end");
    // What is due is a fact in the tables, but nobody looks for it then.
    await store.sql("DELETE FROM @.stream_storage_trimming");
    await store.reopen({ ...busy, trimming });
    await snapshot(store.storage, streams[2]!);
    await store.logged(() => trimmings(store) > 4);
    assert.deepEqual(await store.sql(cursor), [[""]], "open");
    await store.storage.close();
    assert.equal(trimmings(store), 5);
  });

  it("a stream that is rebuilt or has an embedded snapshot counts", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 1, historyMiniblocks: { default: 1n } },
    });
    const [id] = ids(1) as [StreamId];
    const blocks = run(0, 9).map((number) => snapshotBlock(number));
    const { storage } = store;
    await storage.reinitializeStreamStorage(id, blocks, 9n, false);
    await storage.reinitializeStreamStorage(
      id,
      [snapshotBlock(10)],
      10n,
      true,
    );
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, id), 9n);
  });

  it("clears as much from where it left off as from the start", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 1, snapshotRetentionInterval: 150n },
    });
    const [id] = ids(1) as [StreamId];
    const { storage } = store;
    await storage.createStreamStorage(id, snapshotBlock(0));
    for (let first = 1n; first <= 600n; first += 40n) {
      const before = trimmings(store);
      await storage.writeMiniblocks(
        id,
        run(first, first + 39n).map((n) =>
          n % 7n === 0n || n === first ? snapshotBlock(n) : block(n)
        ),
        { generation: first + 40n, envelopes: [] },
        { generation: first, size: 0 },
      );
      await store.logged(() => trimmings(store) > before);
    }
    const dry = await storage.maintenance.trimStreams({ dryRun: true });
    assert.equal(dry.trimmed, 0);
    const [range] = await storage.getMiniblockNumberRanges(id);
    const old = range!.snapshotSeqNums.filter((n) => n <= 500n);
    assert.deepEqual(old, [0n, 154n, 301n, 455n]);
  });

  it("cuts targets at once, dormant streams too, and once they can be", async () => {
    const [dormant, growing, gone] = ids(3) as [StreamId, StreamId, StreamId];
    await using store = await openMaintenanceStore();
    await store.plant(dormant, every(10, 0, 60));
    await store.plant(growing, every(10, 0, 60));
    await store.storage.close();
    await store.reopen({
      ...busy,
      trimming: {
        minSnapshotEvents: { default: 0 },
        targets: [
          { streamId: dormant, miniblock: 45n },
          { streamId: growing, miniblock: 62n },
          { streamId: gone, miniblock: 3n },
        ],
      },
    });
    await store.logged(({ details }) => details?.["done"] === 3);
    assert.equal(await firstOf(store, dormant), 40n);
    assert.equal(await firstOf(store, growing), 60n);
    await snapshot(store.storage, growing);
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, growing), 61n);
    await snapshot(store.storage, growing);
    await store.logged(() => trimmings(store) >= 5);
    assert.equal(await firstOf(store, growing), 62n);
    await snapshot(store.storage, growing);

    await store.storage.maintenance.updateTrimming({
      targets: [{ streamId: dormant, miniblock: 55n }],
    });
    await store.logged(() => trimmings(store) >= 6);
    assert.equal(await firstOf(store, dormant), 50n);
    assert.equal(await firstOf(store, growing), 62n, "reached, so forgotten");
  });

  it("goes by new options as soon as they are given", async () => {
    await using store = await openMaintenanceStore(busy);
    const [id] = ids(1) as [StreamId];
    await store.plant(id, every(10, 0, 60));
    const { maintenance } = store.storage;
    await maintenance.updateTrimming({
      activationFactor: 1,
      historyMiniblocks: { default: 25n },
    });
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, id), 30n);
    await maintenance.updateTrimming({});
    await snapshot(store.storage, id);
    const nothing = await maintenance.trimStreams();
    assert.equal(nothing.trimmed, 0);
  });

  it("rests when it is switched off in the middle of its way", async () => {
    const trimmer = new StreamTrimmer({
      store: undefined as never, // not to be asked for anything
      trimming: resolveTrimming({}),
      wake: () => {},
      onEvent: () => assert.fail(),
    });
    await trimmer.replace(resolveTrimming({
      activationFactor: 1,
      historyMiniblocks: { default: 1n },
    }));
    trimmer.snapshotWritten(newStreamId("channel"));
    await trimmer.replace(resolveTrimming({}));
    const { signal } = new AbortController();
    const report = await trimmer.runOnce(signal);
    assert.deepEqual(report, { done: 0, failed: 0, more: false });
  });

  it("targets that could not be looked at stay due", async () => {
    const trimmer = new StreamTrimmer({
      store: undefined as never, // whatever it is asked for fails
      trimming: resolveTrimming({
        targets: ids(5).map((streamId) => ({ streamId, miniblock: 1n })),
      }),
      wake: () => {},
      onEvent: () => {},
    });
    const { signal } = new AbortController();
    for (let i = 0; i < 5; i++) await assert.rejects(trimmer.runOnce(signal));
  });

  it("says which stream it refuses", async () => {
    await using store = await openMaintenanceStore(busy);
    const [id] = ids(1) as [StreamId];
    const gapped = every(10, 0, 60);
    gapped.blocks.splice(20, 1);
    await store.plant(id, gapped);
    await store.storage.maintenance.updateTrimming({
      activationFactor: 1,
      historyMiniblocks: { default: 1n },
    });
    const { level, details } = await store.logged(({ code }) =>
      code === "trimming_refused"
    );
    assert.equal(level, "warn");
    assert.deepEqual(details, {
      worker: "stream_trimmer",
      streamId: id,
      reason: "unexpected_gap",
    });
  });
});

describe("Trimming against writers", () => {
  it("what was interrupted is finished by the next look", async () => {
    await using store = await openMaintenanceStore({
      trimming: {
        historyMiniblocks: { default: 1n },
        snapshotRetentionInterval: 100n,
        batchSize: 10,
      },
    });
    const [id] = ids(1) as [StreamId];
    await store.plant(id, every(10, 0, 200));
    const { maintenance } = store.storage;
    const whole = await maintenance.trimStreams({ dryRun: true });
    // Stops behind the third step, as a process that dies there.
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
    assert.equal(await firstOf(store, id), 30n, "paused at a snapshot");
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

  it("neither loses anything of the other", async () => {
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
    const streams = ids(4);
    await Promise.all(streams.map(async (id) => {
      await storage.createStreamStorage(id, snapshotBlock(0));
      for (let n = 0; n < 40; n++) {
        await snapshot(storage, id);
        const generation = BigInt(n + 2);
        await storage.writeEvent(id, generation, 0, new Uint8Array([n]));
        const { miniblocks } = await storage.readStreamFromLastSnapshot(id, 9);
        assert.equal(miniblocks.at(-1)!.number, generation - 1n);
        await storage.writeMiniblocks(
          id,
          [block(generation)],
          { generation: generation + 1n, envelopes: [] },
          { generation, size: 1 },
        ).catch(() => assert.fail("the minipool is as it was left"));
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

/** The partition table that holds the stream's blocks. */
async function tableOf(
  { storage }: MaintenanceStore,
  streamId: StreamId,
): Promise<string> {
  const { partitionSuffix } = await storage.debugReadStreamStatistics(streamId);
  return `miniblocks_${partitionSuffix}`;
}

describe("Streams that were told", () => {
  const [a, b] = ids(2) as [StreamId, StreamId];

  it("are due at the n-th, when their count is known", () => {
    const due = new DueStreams();
    assert.equal(due.snapshotWritten(a, 3), true, "not known yet");
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: false }]);
    due.count(a, 1);
    assert.equal(due.snapshotWritten(a, 3), false);
    assert.equal(due.snapshotWritten(a, 3), true);
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: true }]);
    assert.equal(due.snapshotWritten(a, 3), true, "told while it is looked at");
    due.count(a, 0);
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: false }]);
  });

  it("are looked at by the order they came in, some at a time", () => {
    const due = new DueStreams();
    for (const id of [b, a, b]) due.snapshotWritten(id, 1);
    assert.deepEqual(due.take(1), [{ streamId: b, isCertain: true }]);
    assert.deepEqual(due.take(1), [{ streamId: a, isCertain: true }]);
    assert.equal(due.size, 0);
  });

  it("are no more than can be remembered, and it is told so", () => {
    const due = new DueStreams();
    for (let i = 0; i < 10_001; i++) due.snapshotWritten(`${i}` as StreamId, 1);
    assert.equal(due.size, 10_000);
    assert.equal(due.takeOverflow(), true);
    assert.equal(due.takeOverflow(), false);
  });
});
