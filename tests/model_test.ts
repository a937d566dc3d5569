/**
 * STREAM_STORAGE_MODEL_SEED and STREAM_STORAGE_MODEL_PATH repeat a failure,
 * STREAM_STORAGE_MODEL_RUNS sets the number of sequences. `deno task soak`
 * runs for longer.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { checkModel } from "./support/model.ts";

describe("PostgreSQL and memory", () => {
  it("do not differ in random sequences of operations", async () => {
    const {
      STREAM_STORAGE_MODEL_SEED: seed,
      STREAM_STORAGE_MODEL_PATH: path,
      STREAM_STORAGE_MODEL_RUNS: runs = "100",
    } = process.env;
    const counts = await checkModel({
      seed: seed === undefined ? undefined : Number(seed),
      path,
      runs: Number(runs),
      maxSteps: 60,
    });
    assert.ok(path !== undefined || counts.steps > Number(runs) * 10);
  });
});
