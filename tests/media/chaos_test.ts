/**
 * Short runs of `deno task chaos:media` and `deno task soak:media-workers`:
 * real processes and a faulty bucket.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runChurn } from "../../scripts/chaos_media/churn.ts";
import { runChaos } from "../../scripts/chaos_media/run.ts";

describe("Media streams over a faulty bucket", () => {
  for (const dialect of ["s3", "gcs"] as const) {
    it(`lose nothing to kills and takeovers, on ${dialect}`, async () => {
      const report = await runChaos({
        rounds: 2,
        seed: `gate ${dialect}`,
        dialects: [dialect],
        streams: 6,
        faults: 12,
      });
      assert.deepEqual(report.broken, []);
      assert.equal(report.rounds, 2);
      assert.ok(report.acknowledgedBlocks > 0);
      assert.ok(report.kills + report.ends >= 2);
    });
  }

  it("lose nothing to stores that take over in one process", async () => {
    const { samples, broken } = await runChurn({
      durationMs: 60_000,
      seed: "gate",
      dialect: "gcs",
      streams: 4,
      faults: 5,
      takeoverMs: 200,
      maxStores: 3,
      sampleMs: 60_000,
    });
    assert.deepEqual(broken, []);
    assert.equal(samples.length, 1);
    // The fourth store only looks at the result.
    assert.equal(samples[0]!.stores, 4);
    assert.ok(samples[0]!.done >= 3);
  });
});
