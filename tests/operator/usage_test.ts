/** How the usage of streams is estimated and explained, without a server. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StreamSizes } from "../../src/operator/mod.ts";
import { reasonOf } from "../../src/operator/usage/reason.ts";
import { Tally } from "../../src/operator/usage/tally.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";

const someStream: StreamSizes = {
  streamId: "10".padEnd(64, "0") as StreamId,
  type: "space",
  isEphemeral: false,
  location: "database",
  latestSnapshot: 0n,
  blocks: 10n,
  firstBlock: 0n,
  lastBlock: 9n,
  blockBytes: 1000n,
  snapshots: 0n,
  snapshotBytes: 0n,
  oldBytes: 0n,
  events: 0n,
  minipoolBytes: 0n,
  candidates: 0n,
  candidateBytes: 0n,
  outsideBlocks: 0n,
  outsideBytes: 0n,
  hasGaps: false,
};

describe("The usage of streams", () => {
  it("is estimated as exactly as its sample says", () => {
    // One in ten of 10 000 streams is large. The samples are the same in each
    // run.
    const sizeOf = (i: number) => BigInt(i % 10 === 0 ? 1000 : 10);
    const all = Array.from({ length: 10_000 }, (_, i) => sizeOf(i));
    const truth = Number(all.reduce((sum, size) => sum + size));
    let within = 0;
    for (let sample = 0; sample < 100; sample++) {
      const tally = new Tally(1);
      let state = sample * 7919 + 1;
      tally.add(
        all.filter(() => {
          state = (state * 48_271) % 2_147_483_647;
          return state / 2_147_483_647 < 0.05;
        }).map((blockBytes) => ({ ...someStream, blockBytes })),
      );
      const error = tally.errorOf(all.length);
      const [usage] = tally.types(all.length / tally.seen);
      if (Math.abs(usage!.blockBytes - truth) <= error.bytes) within++;
    }
    assert.ok(within >= 88 && within <= 100, `${within} of 100`);
  });

  it("says in words why a stream is large", () => {
    const cases: [Partial<StreamSizes>, RegExp][] = [
      [{ minipoolBytes: 9000n, events: 90n }, /^90 events wait/],
      [{ candidateBytes: 9000n, candidates: 4n }, /^4 proposed blocks/],
      [{ oldBytes: 800n }, /^80 % is older than its latest snapshot/],
      [{ snapshotBytes: 9000n, snapshots: 7n }, /^7 snapshots$/],
      [{ lastBlock: 5000n }, /^no snapshot since 5000 blocks$/],
      [{ isEphemeral: true, type: "media" }, /^an unfinished upload/],
      [{ type: "media" }, /^media, 10 blocks/],
      [{ blockBytes: 0n }, /^none of it is in the database$/],
      [{}, /^10 blocks$/],
    ];
    for (const [differs, reason] of cases) {
      assert.match(reasonOf({ ...someStream, ...differs }), reason);
    }
  });
});
