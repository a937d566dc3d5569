/** A short run of `deno task chaos:media`. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runChaos } from "../scripts/chaos_media/run.ts";

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
});
