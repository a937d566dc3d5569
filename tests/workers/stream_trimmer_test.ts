/**
 * The trimmer in the background of a store on a real server: which streams are
 * due, also after a restart or the death of the process.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resolveTrimming } from "../../src/postgres/live_options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  block,
  newStreamId,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { DueStreams } from "../../src/workers/due_streams.ts";
import { StreamTrimmer } from "../../src/workers/stream_trimmer.ts";
import { firstOf, openMaintenanceStore } from "../support/maintenance_store.ts";
import {
  addSnapshot,
  busy,
  channelIds,
  everyNth,
  trimmed,
  trimmings,
} from "../support/trimming.ts";

describe("The trimmer in the background", () => {
  it("trims at every n-th snapshot, and counts on after a restart", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 3, historyMiniblocks: { default: 1n } },
    });
    const [id, other] = channelIds(2) as [StreamId, StreamId];
    for (const streamId of [id, other]) {
      await store.storage.createStreamStorage(streamId, snapshotBlock(0));
    }
    await addSnapshot(store.storage, id);
    await addSnapshot(store.storage, id);
    await store.storage.close();
    await store.reopen();
    await addSnapshot(store.storage, other);
    await addSnapshot(store.storage, id);
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, id), 2n);
    assert.equal(await firstOf(store, other), 0n);
    for (let n = 4; n <= 5; n++) await addSnapshot(store.storage, id);
    await store.storage.close();
    await store.reopen();
    await addSnapshot(store.storage, id);
    await store.logged(() => trimmings(store) >= 2);
    assert.equal(await firstOf(store, id), 5n);
    await store.storage.close();
    assert.equal(
      trimmings(store),
      2,
      "Trimmed not only at the 3rd and the 6th",
    );
    await store.assertInvariants();
  });

  it("continues after the death of the process where it was", async () => {
    const trimming = {
      activationFactor: 2,
      historyMiniblocks: { default: 1n },
    };
    // No worker runs, as if the process had died after each commit.
    await using store = await openMaintenanceStore({ trimming });
    const streams = channelIds(5);
    for (const [i, id] of streams.entries()) {
      await store.storage.createStreamStorage(id, snapshotBlock(0));
      for (let n = 0; n < (i === 2 ? 1 : 2); n++) {
        await addSnapshot(store.storage, id);
      }
    }
    await store.storage.close();
    // The trimmer had come as far as the fourth stream.
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
    const ended = await store.sql(cursor);
    assert.deepEqual(ended, [[null]], "The end was not recorded as orderly");
    // The tables still say which streams are due, but after an orderly end the
    // trimmer does not look for them.
    await store.sql("DELETE FROM @.stream_storage_trimming");
    await store.reopen({ ...busy, trimming });
    await addSnapshot(store.storage, streams[2]!);
    await store.logged(() => trimmings(store) > 4);
    const opened = await store.sql(cursor);
    assert.deepEqual(opened, [[""]], "The start was not recorded");
    await store.storage.close();
    assert.equal(trimmings(store), 5);
  });

  it("trims a stream that was rebuilt", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 1, historyMiniblocks: { default: 1n } },
    });
    const [id] = channelIds(1) as [StreamId];
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

  it("clears as much from where it stopped as from the start", async () => {
    await using store = await openMaintenanceStore({
      ...busy,
      trimming: { activationFactor: 1, snapshotRetentionInterval: 150n },
    });
    const [id] = channelIds(1) as [StreamId];
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

  it("cuts targets as soon as they can be cut, even in dormant streams", async () => {
    const [dormant, growing, gone] = channelIds(3) as [
      StreamId,
      StreamId,
      StreamId,
    ];
    await using store = await openMaintenanceStore();
    await store.plant(dormant, everyNth(10, 0, 60));
    await store.plant(growing, everyNth(10, 0, 60));
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
    await addSnapshot(store.storage, growing);
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, growing), 61n);
    await addSnapshot(store.storage, growing);
    await store.logged(() => trimmings(store) >= 5);
    assert.equal(await firstOf(store, growing), 62n);
    await addSnapshot(store.storage, growing);

    await store.storage.maintenance.updateTrimming({
      targets: [{ streamId: dormant, miniblock: 55n }],
    });
    await store.logged(() => trimmings(store) >= 6);
    assert.equal(await firstOf(store, dormant), 50n);
    const first = await firstOf(store, growing);
    assert.equal(first, 62n, "A target that was reached was cut again");
  });

  it("follows new options as soon as it gets them", async () => {
    await using store = await openMaintenanceStore(busy);
    const [id] = channelIds(1) as [StreamId];
    await store.plant(id, everyNth(10, 0, 60));
    const { maintenance } = store.storage;
    await maintenance.updateTrimming({
      activationFactor: 1,
      historyMiniblocks: { default: 25n },
    });
    await store.logged(trimmed(1));
    assert.equal(await firstOf(store, id), 30n);
    await maintenance.updateTrimming({});
    await addSnapshot(store.storage, id);
    const nothing = await maintenance.trimStreams();
    assert.equal(nothing.trimmed, 0);
  });

  it("does nothing if it is switched off while streams are due", async () => {
    const trimmer = new StreamTrimmer({
      store: undefined as never, // Any use of it would fail.
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

  it("keeps targets due that it could not look at", async () => {
    const trimmer = new StreamTrimmer({
      store: undefined as never, // Any use of it fails.
      trimming: resolveTrimming({
        targets: channelIds(5).map((streamId) => ({ streamId, miniblock: 1n })),
      }),
      wake: () => {},
      onEvent: () => {},
    });
    const { signal } = new AbortController();
    for (let i = 0; i < 5; i++) await assert.rejects(trimmer.runOnce(signal));
  });

  it("logs the stream that it refuses", async () => {
    await using store = await openMaintenanceStore(busy);
    const [id] = channelIds(1) as [StreamId];
    const gapped = everyNth(10, 0, 60);
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

describe("The due streams of the trimmer", () => {
  const [a, b] = channelIds(2) as [StreamId, StreamId];

  it("are due at their n-th snapshot, once their count is known", () => {
    const due = new DueStreams();
    // The count is not known yet, so the stream has to be counted.
    assert.equal(due.snapshotWritten(a, 3), true);
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: false }]);
    due.count(a, 1);
    assert.equal(due.snapshotWritten(a, 3), false);
    assert.equal(due.snapshotWritten(a, 3), true);
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: true }]);
    // The trimmer looks at the stream, and has not reported a count yet.
    assert.equal(due.snapshotWritten(a, 3), true);
    due.count(a, 0);
    assert.deepEqual(due.take(9), [{ streamId: a, isCertain: false }]);
  });

  it("are taken in the order in which they became due, some at a time", () => {
    const due = new DueStreams();
    for (const id of [b, a, b]) due.snapshotWritten(id, 1);
    assert.deepEqual(due.take(1), [{ streamId: b, isCertain: true }]);
    assert.deepEqual(due.take(1), [{ streamId: a, isCertain: true }]);
    assert.equal(due.size, 0);
  });

  it("are bounded, and report that some were left out", () => {
    const due = new DueStreams();
    for (let i = 0; i < 10_001; i++) due.snapshotWritten(`${i}` as StreamId, 1);
    assert.equal(due.size, 10_000);
    assert.equal(due.takeOverflow(), true);
    assert.equal(due.takeOverflow(), false);
  });
});
