/**
 * The trimmer on a real server against a model of its rules, over random
 * streams: the rest is what the rules say, a dry run predicts it, and a second
 * run finds nothing to do.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import {
  type MaintenanceStore,
  openMaintenanceStore,
} from "../support/maintenance_store.ts";
import {
  expectedOutcome,
  optionsOf,
  type Outcome,
  rowsOf,
  type TrimmingCase,
  trimmingCases,
} from "../support/trimming_model.ts";

describe("Trimming a random stream", () => {
  let store: MaintenanceStore;

  before(async () => {
    store = await openMaintenanceStore({ partitions: 1 });
  });
  after(() => store[Symbol.asyncDispose]());

  async function stored(streamId: StreamId): Promise<Outcome> {
    const { miniblocks } = await store.storage.debugReadStreamData(streamId);
    return {
      numbers: miniblocks.map(({ number }) => number),
      beside: miniblocks.filter(({ snapshot }) => snapshot !== undefined)
        .map(({ number }) => number),
    };
  }

  async function bytesOf(streamId: StreamId): Promise<bigint> {
    const { miniblocks } = await store.storage.debugReadStreamData(streamId);
    const sizes = miniblocks.map(({ data, snapshot }) =>
      data.length + (snapshot?.length ?? 0)
    );
    return BigInt(sizes.reduce((a, b) => a + b, 0));
  }

  async function check(stream: TrimmingCase): Promise<void> {
    const { maintenance } = store.storage;
    const streamId = newStreamId("channel");
    await store.plant(streamId, rowsOf(stream));
    const { target } = stream;
    await maintenance.updateTrimming({
      ...optionsOf(stream),
      targets: target === undefined ? [] : [{ streamId, miniblock: target }],
    });
    const old = await stored(streamId);
    const oldBytes = await bytesOf(streamId);
    const dry = await maintenance.trimStreams({ streamId, dryRun: true });
    const unchanged = await stored(streamId);
    assert.deepEqual(unchanged, old, "The dry run changed the stream");
    const report = await maintenance.trimStreams({ streamId });
    assert.deepEqual({ ...dry, dryRun: false }, report);

    const expected = expectedOutcome(stream);
    if (expected === undefined) {
      const refusal = { streamId, reason: "unexpected_gap" };
      assert.deepEqual(report.refusals, [refusal]);
      assert.deepEqual(await stored(streamId), old);
    } else {
      assert.deepEqual(report.refusals, []);
      assert.deepEqual(await stored(streamId), expected);
      assert.equal(oldBytes - await bytesOf(streamId), report.bytes);
      const gone = old.numbers.length - expected.numbers.length;
      assert.equal(report.miniblocks, gone);
      // The stream is readable as before, from the same snapshot on.
      const { miniblocks, snapshotMiniblockOffset } = await store.storage
        .readStreamFromLastSnapshot(streamId, 0);
      assert.equal(
        miniblocks[snapshotMiniblockOffset]!.number,
        stream.latest,
      );
    }
    const again = await maintenance.trimStreams({ streamId });
    assert.equal(again.miniblocks + again.snapshots, 0);
    await store.storage.deleteStream(streamId);
  }

  it("leaves what the rules say, and a second run finds nothing", async () => {
    await fc.assert(fc.asyncProperty(trimmingCases, check), {
      seed: 20261126,
      numRuns: 100,
    });
  });
});
