/** One handover between real processes; `deno task standby` runs all of them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { handOver } from "../../scripts/standing_by/handover.ts";
import { testDatabaseUrl } from "../support/database.ts";

describe("A process that stands by", () => {
  it("follows one that is killed, of whose writes all are there", async () => {
    const { faults, stored } = await handOver({
      url: await testDatabaseUrl(),
      schema: `standing_by_${crypto.randomUUID().replaceAll("-", "")}`,
    }, "kill");
    assert.deepEqual(faults, []);
    assert.ok(stored >= 100);
  });
});
