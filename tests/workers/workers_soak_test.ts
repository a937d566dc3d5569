/** A short run; `deno task soak:workers` goes on for as long as it is told. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { soakWorkers } from "../support/soak/workers_soak.ts";

describe("Writers with all workers running", () => {
  it("lose nothing, and nothing is kept that should go", async () => {
    const counts = await soakWorkers({
      seed: "gate",
      authors: 6,
      steps: 40,
      rounds: 3,
    });
    assert.equal(counts.rounds, 3);
    assert.ok(counts.checks > 0);
    assert.ok(counts.sealed > 0);
  });
});
