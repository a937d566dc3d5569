/**
 * Options that are functions: the store calls them before each run of a worker,
 * checks the result, and keeps the last good one. First the setting alone, then
 * a store on a real server.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStreamStorage, type TrimmingOptions } from "../../mod.ts";
import { LiveSetting } from "../../src/postgres/setting.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import {
  isStreamStorageError,
  StreamStorageError,
} from "../../src/storage/errors.ts";
import {
  assertFails,
  block,
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { settable } from "../../src/testing/mod.ts";
import { queryOnce, testDatabaseUrl, uniqueName } from "../support/database.ts";
import {
  firstOf,
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";

const { signal } = new AbortController();

/** Accepts even numbers. */
function even(value: unknown): number {
  if (typeof value === "number" && value % 2 === 0) return value;
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message: "odd",
    details: { faults: [{ option: "even", message: "must be even" }] },
  });
}

function live(source: () => unknown, timeoutMs = 5000) {
  const refused: StreamStorageError[] = [];
  const setting = new LiveSetting({
    option: "even",
    value: 0,
    source,
    parse: even,
    timeoutMs,
    onRefused: (error) => refused.push(error),
  });
  return { setting, refused };
}

describe("A setting", () => {
  it("keeps the last good value, and reports the first bad one in a row", async () => {
    const source = settable<unknown>(2);
    const { setting, refused } = live(source);
    assert.equal(setting.value, 0);
    assert.equal(await setting.ask(signal), 2);
    for (let row = 1; row <= 2; row++) {
      source.set(3);
      assert.equal(await setting.ask(signal), 2 * row);
      source.fail(new Error("no"));
      assert.equal(await setting.ask(signal), 2 * row);
      assert.equal(refused.length, row);
      source.set(2 * row + 2);
      assert.equal(await setting.ask(signal), 2 * row + 2);
    }
    assert.equal(source.asked, 7);
  });

  it("waits for its function until a timeout, and calls it once at a time", async () => {
    let asked = 0;
    const { promise, resolve } = Promise.withResolvers<number>();
    const { setting, refused } = live(() => (asked++, promise), 20);
    assert.equal(await setting.ask(signal), 0);
    assert.equal(await setting.ask(signal), 0);
    assert.equal(asked, 1);
    assert.match(refused[0]!.message, /has returned no value within 20 ms/);
    resolve(8);
    assert.equal(await setting.ask(signal), 8);
    assert.equal(await setting.ask(signal), 8);
    assert.equal(asked, 2);
    assert.equal(refused.length, 1);
  });

  it("stops waiting when its caller does, and reports no fault", async () => {
    const { setting, refused } = live(() => new Promise(() => {}));
    const asker = new AbortController();
    const asking = setting.ask(asker.signal);
    asker.abort(new Error("closed"));
    await assert.rejects(asking, /closed/);
    assert.deepEqual(refused, []);
  });

  it("that is replaced ignores a late result of the old function", async () => {
    for (const isGood of [true, false]) {
      const old = Promise.withResolvers<number>();
      const { setting, refused } = live(() => old.promise);
      const asking = setting.ask(signal);
      assert.equal(await setting.replace(4, signal), 4);
      if (isGood) old.resolve(2);
      else old.reject(new Error("too late"));
      assert.equal(await asking, 4);
      assert.equal(await setting.ask(signal), 4);
      assert.deepEqual(refused, []);
    }
  });

  it("is replaced only by a good value or function", async () => {
    const { setting } = live(() => 2);
    for (const bad of [3, () => 5, () => Promise.reject(new Error("no"))]) {
      await assert.rejects(
        setting.replace(bad, signal),
        (error) => isStreamStorageError(error, "BAD_CONFIG"),
      );
      assert.equal(await setting.ask(signal), 2);
    }
    assert.equal(await setting.replace(() => Promise.resolve(6), signal), 6);
    assert.equal(await setting.ask(signal), 6);
  });
});

describe("Options that are functions", () => {
  const ephemeralTtlMs = settable<number>(3_600_000);
  const trimming = settable<TrimmingOptions>({});
  let store: MaintenanceStore;

  before(async () => {
    store = await openMaintenanceStore({
      partitions: 2,
      ephemeralTtlMs,
      trimming,
    });
  });
  after(async () => await store?.[Symbol.asyncDispose]());

  const refusals = () =>
    store.events.filter(({ code }) => code === "setting_refused")
      .map(({ level, details }) => ({ level, ...details }));

  async function trimmedStream(): Promise<StreamId> {
    const id = newStreamId("channel");
    const planted = plantedStream(run(0, 60), {
      snapshots: [0, 10, 20, 30, 40, 50, 60],
    });
    await store.plant(id, planted);
    return id;
  }

  it("set the age of ephemeral streams from the next run on", async () => {
    const { maintenance } = store.storage;
    const sweep = async () =>
      (await maintenance.sweepEphemeralStreams()).streamIds;
    const id = newStreamId("media");
    await store.storage.writeEphemeralMiniblock(id, block(1));
    await store.sql(`UPDATE @.stream_storage_ephemeral
      SET created_at = created_at - interval '30 minutes'`);
    assert.deepEqual(await sweep(), []);
    for (const bad of [0, 1.5, "x", undefined, NaN]) {
      ephemeralTtlMs.set(bad as number);
      assert.deepEqual(await sweep(), []);
    }
    ephemeralTtlMs.fail(new Error("the chain's secret"));
    assert.deepEqual(await sweep(), []);
    const [refusal, ...more] = refusals();
    assert.deepEqual(more, []);
    assert.equal(refusal!.level, "warn");
    assert.equal(Reflect.get(refusal!, "option"), "ephemeralTtlMs");
    ephemeralTtlMs.set(60_000);
    assert.deepEqual(await sweep(), [id]);
    ephemeralTtlMs.fail(new Error("the chain's secret"));
    assert.deepEqual(await sweep(), []);
    assert.deepEqual(refusals()[1], {
      level: "warn",
      option: "ephemeralTtlMs",
      faults: [{
        option: "ephemeralTtlMs",
        message: "its function has failed",
      }],
      error: "Error",
    });
    assert.equal(JSON.stringify(store.events).includes("secret"), false);
    ephemeralTtlMs.set(3_600_000);
  });

  it("set what trimming keeps of each type from the next run on", async () => {
    const { maintenance } = store.storage;
    const id = await trimmedStream();
    const trim = async () => {
      await maintenance.trimStreams();
      return await firstOf(store, id);
    };
    assert.equal(await trim(), 0n);
    trimming.set({ historyMiniblocks: { channel: 35n, default: 1n } });
    assert.equal(await trim(), 20n);
    trimming.set({ historyMiniblocks: { channel: -1n } });
    assert.equal(await trim(), 20n);
    trimming.set({ historyMiniblocks: { channel: 12n } });
    assert.equal(await trim(), 40n);
  });

  it("also apply to runs that the store starts itself", async () => {
    trimming.set({
      activationFactor: 1,
      historyMiniblocks: { channel: 1000n },
    });
    await store.reopen({ workerConcurrency: 1, ephemeralSweepIntervalMs: 0 });
    const id = await trimmedStream();
    trimming.set({ activationFactor: 1, historyMiniblocks: { channel: 1n } });
    await store.storage.writeMiniblocks(
      id,
      [snapshotBlock(61)],
      { generation: 62n, envelopes: [] },
      { generation: 61n, size: 0 },
    );
    await store.ran("stream_trimmer");
    assert.notEqual(await firstOf(store, id), 0n);
    await store.reopen();
  });

  it("are replaced by updateTrimming, by a value or another function", async () => {
    const { maintenance } = store.storage;
    const id = await trimmedStream();
    const trim = async () => {
      await maintenance.trimStreams({ streamId: id });
      return await firstOf(store, id);
    };
    trimming.set({ historyMiniblocks: { channel: 1n } });
    await maintenance.updateTrimming({ historyMiniblocks: { channel: 35n } });
    assert.equal(await trim(), 20n);
    const other = settable<TrimmingOptions>({
      historyMiniblocks: { channel: 25n },
    });
    await maintenance.updateTrimming(other);
    assert.equal(await trim(), 30n);
    for (const bad of [{ batchSize: 0 }, () => ({ batchSize: 0 })]) {
      await assertFails(maintenance.updateTrimming(bad), {
        code: "BAD_CONFIG",
        reason: "bad_options",
        operation: "updateTrimming",
      });
    }
    other.set({ historyMiniblocks: { channel: 12n } });
    assert.equal(await trim(), 40n);
  });
});

describe("Opening a store whose options are functions", () => {
  const schema = uniqueName("settings");

  it("reports every bad result at once, and makes nothing", async () => {
    const url = await testDatabaseUrl();
    const cause = new Error("the chain is away");
    await assert.rejects(
      openStreamStorage({
        url,
        schema,
        ephemeralTtlMs: () => Promise.reject(cause),
        trimming: () => ({ batchSize: 0, historyMiniblocks: { dm: -1n } }),
      }),
      (error) => {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
        assert.equal(error.operation, "openStreamStorage");
        assert.equal(error.cause, cause);
        const faults = error.details["faults"] as { option: string }[];
        assert.deepEqual(faults.map(({ option }) => option).sort(), [
          "ephemeralTtlMs",
          "trimming.batchSize",
          "trimming.historyMiniblocks.dm",
        ]);
        return true;
      },
    );
    const found = await queryOnce(
      url,
      `SELECT FROM pg_namespace WHERE nspname = '${schema}'`,
    );
    assert.deepEqual(found, []);
  });

  it("ends with its signal while a function does not return", async () => {
    const url = await testDatabaseUrl();
    const opener = new AbortController();
    const asked = Promise.withResolvers<void>();
    const opening = openStreamStorage({
      url,
      schema,
      signal: opener.signal,
      ephemeralTtlMs: () => {
        asked.resolve();
        return new Promise<number>(() => {});
      },
    });
    await asked.promise;
    opener.abort(new Error("enough"));
    await assertFails(opening, { code: "CANCELED" });
  });
});
