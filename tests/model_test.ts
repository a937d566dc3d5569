/**
 * The gate runs the sequences of one seed, so that it fails for what a change
 * has done and not by luck. STREAM_STORAGE_MODEL_SEED takes another,
 * STREAM_STORAGE_MODEL_RUNS more of them, STREAM_STORAGE_MODEL_PATH with the
 * seed repeats a failure.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { checkModel } from "./support/model.ts";

describe("PostgreSQL and memory", () => {
  it("do not differ in random sequences of operations", async () => {
    const {
      STREAM_STORAGE_MODEL_SEED: seed = "20261123",
      STREAM_STORAGE_MODEL_PATH: path,
      STREAM_STORAGE_MODEL_RUNS: runs = "70",
    } = process.env;
    const counts = await checkModel({
      seed: Number(seed),
      path,
      runs: Number(runs),
      maxSteps: 100,
    });
    assert.ok(path !== undefined || counts.steps > Number(runs) * 10);
  });
});
