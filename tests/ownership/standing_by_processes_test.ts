/**
 * One handover between real processes: the owner is killed. `deno task standby`
 * runs the others.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { handOver } from "../../scripts/standing_by/handover.ts";
import { testDatabaseUrl, uniqueName } from "../support/database.ts";

describe("A process that stands by", () => {
  it("follows an owner that is killed, and finds all acknowledged writes", async () => {
    const { faults, stored } = await handOver({
      url: await testDatabaseUrl(),
      schema: uniqueName("standing_by"),
    }, "kill");
    assert.deepEqual(faults, []);
    assert.ok(stored >= 100);
  });
});
