/** The gate's share of the late-copy harness: a sample in each setting. */
import assert from "node:assert/strict";
import process from "node:process";
import { it } from "node:test";
import { type Combination, combinations } from "./combinations.ts";
import { runLateCopies } from "./run_late_copies.ts";
import { sampleOf } from "./samples.ts";
import type { SettingName } from "./settings.ts";

/** STREAM_STORAGE_LATE_COPY_SEED and _SIZE choose another sample. */
const {
  STREAM_STORAGE_LATE_COPY_SEED: seed = "20261130",
  STREAM_STORAGE_LATE_COPY_SIZE: size = "25",
} = process.env;

let generated: Promise<Combination[]> | undefined;

/** All combinations with up to two later writes, generated once. */
export function allCombinations(): Promise<Combination[]> {
  return generated ??= combinations({ depth: 2 });
}

/** Defines a test for each setting, with the sample's seed in its title. */
export function lateCopyTests(settings: readonly SettingName[]): void {
  for (const setting of settings) {
    it(`changes nothing: ${setting}, seed ${seed}`, async () => {
      const sample = sampleOf(await allCombinations(), {
        seed,
        size: Number(size),
      });
      const report = await runLateCopies({ setting, combinations: sample });
      assert.deepEqual(report.broken, []);
      assert.ok(report.heldBack >= sample.length);
      assert.equal(report.executed + report.refused, report.heldBack);
      assert.deepEqual(report.examples, []);
      assert.equal(report.changed, 0);
    });
  }
}
