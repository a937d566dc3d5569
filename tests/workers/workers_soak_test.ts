/**
 * A short run of writers beside all workers on a real server; `deno task
 * soak:workers` runs as long as its arguments say.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { soakWorkers } from "../support/soak/workers_soak.ts";

describe("Writers with all workers running", () => {
  it("lose nothing, and keep nothing that should go", async () => {
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
