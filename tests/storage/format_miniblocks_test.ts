/** `formatMiniblocks` draws the streams of an in-memory store. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  MemoryStreamStorage,
  plantMemoryStream,
} from "../../src/memory/memory_stream_storage.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import { formatMiniblocks } from "../../src/testing/format_miniblocks.ts";

const id = parseStreamId("10ab".padEnd(64, "0"));
const data = new Uint8Array([1]);
const snapshot = new Uint8Array([2]);

function blocks(first: number, last: number, snapshots: number[]) {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const number = first + index;
    return snapshots.includes(number)
      ? { number: BigInt(number), data, snapshot }
      : { number: BigInt(number), data };
  });
}

describe("formatMiniblocks", () => {
  it("draws a stream without gaps in one line", async () => {
    await using storage = new MemoryStreamStorage();
    plantMemoryStream(storage, id, {
      latestSnapshot: 7n,
      blocks: blocks(0, 11, [3, 7]),
      minipool: [-1, 0, 1].map((slot) => ({ generation: 12n, slot })),
      candidates: [{ number: 12n, data, hash: new Uint8Array(32) }],
    });
    assert.equal(
      await formatMiniblocks(storage, id),
      "space 10ab… 0━━━●━━━●━━━━11 12 blocks, 2 snapshots, latest 7, " +
        "1 candidate │ minipool gen 12: 2 events",
    );
  });

  it("draws one line for each run", async () => {
    await using storage = new MemoryStreamStorage();
    plantMemoryStream(storage, id, {
      latestSnapshot: 5n,
      blocks: [...blocks(0, 2, []), ...blocks(5, 6, [5])],
      minipool: [-1, 0].map((slot) => ({ generation: 7n, slot })),
    });
    assert.equal(
      await formatMiniblocks(storage, id),
      "space 10ab… 0━━━2\n" +
        "            5●━6 5 blocks, 1 snapshot, latest 5 │ " +
        "minipool gen 7: 1 event",
    );
  });

  it("draws long runs to scale", async () => {
    await using storage = new MemoryStreamStorage();
    plantMemoryStream(storage, id, {
      ephemeral: true,
      blocks: blocks(0, 4799, [0, 4799]),
    });
    assert.equal(
      await formatMiniblocks(storage, id),
      `space 10ab… 0●${"━".repeat(46)}●4799 4800 blocks, 2 snapshots, ` +
        "latest 0 │ ephemeral",
    );
  });

  it("draws a stream without blocks", async () => {
    await using storage = new MemoryStreamStorage();
    await storage.createStreamArchiveStorage(id);
    assert.equal(
      await formatMiniblocks(storage, id),
      "space 10ab… (empty) 0 blocks, 0 snapshots, latest 0 │ " +
        "minipool gen 0: 0 events",
    );
  });
});
