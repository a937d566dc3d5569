/**
 * Random sequences of operations, with the same results from PostgreSQL and
 * from the twin in memory. The gate always runs the sequences of one seed, so
 * that only a change of the code can make it fail.
 *
 * STREAM_STORAGE_MODEL_SEED chooses another seed, STREAM_STORAGE_MODEL_RUNS the
 * number of sequences; STREAM_STORAGE_MODEL_PATH, with the seed, repeats a
 * failure.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { run } from "../../src/testing/contract/support.ts";
import { checkModel } from "../support/model/model.ts";
import { reduceSequence } from "../support/model/reduce.ts";
import type { Step } from "../support/model/steps.ts";

describe("PostgreSQL and the twin in memory", () => {
  it("agree on random sequences of operations", async () => {
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
    assert.ok(path !== undefined || counts.steps > Number(runs) * 30);
  });
});

describe("A sequence that fails", () => {
  it("is reduced to the fewest steps that still fail", async () => {
    const step = (stream: number): Step => ({
      kind: "batch",
      intents: run(0, 4).map((n) => ({
        operation: n === 3n ? "trimStream" : "writeEvent",
        stream,
        rolls: [1, 2, 3, 4, 5],
      })),
    });
    const steps = run(1, 100).map((n) => step(Number(n)));
    // Fails if stream 20 is trimmed with the third roll, and 70 comes later.
    const fails = (steps: readonly Step[]): Promise<unknown> => {
      const intents = steps.flatMap((step) =>
        step.kind === "batch"
          ? step.intents
          : step.kind === "call"
          ? [step.intent]
          : []
      );
      const at = intents.findIndex(({ operation, stream, rolls }) =>
        operation === "trimStream" && stream === 20 && rolls[2] === 3
      );
      const isHit = at >= 0 && intents.slice(at).some((i) => i.stream === 70);
      return Promise.resolve(isHit ? `failed at ${at}` : undefined);
    };
    const found = { steps, error: "failed" };
    const { steps: left, error } = await reduceSequence(found, fails, 30_000);
    assert.equal(error, "failed at 0");
    assert.equal(left.length, 2);
    const [trim, other] = left as [Step, Step];
    assert.deepEqual(trim, {
      kind: "call",
      intent: { operation: "trimStream", stream: 20, rolls: [0, 0, 3] },
    });
    assert.ok(other.kind === "call");
    assert.deepEqual([other.intent.stream, other.intent.rolls], [70, []]);
  });
});
