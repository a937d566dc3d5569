/**
 * A model of the protocol in src/database/ownership.ts over random
 * interleavings of starts, writes, losses and freezes; without any one of its
 * rules, it breaks. Two tests show on a server what the model assumes of the
 * fence. ownership/ownership_test.ts tries the code itself.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import {
  allRules,
  type Rules,
  type StepKind,
  Violation,
  World,
} from "../support/ownership_model.ts";
import { testSession } from "../support/sessions.ts";
import { openTestStorage } from "../support/storage.ts";

/**
 * Choices among the possible steps: mostly those that come about by themselves.
 */
const interleavings = fc.array(
  fc.record({
    nth: fc.nat(1000),
    kinds: fc.oneof(
      { weight: 8, arbitrary: fc.constant<StepKind[]>(["course"]) },
      { weight: 4, arbitrary: fc.constant<StepKind[]>(["choice"]) },
      { weight: 1, arbitrary: fc.constant<StepKind[]>(["mishap"]) },
    ),
  }),
  { minLength: 20, maxLength: 100, size: "max" },
);

/** Takes the steps, then lets everything come to rest. */
function play(
  steps: readonly { nth: number; kinds: StepKind[] }[],
  rules: Rules = allRules,
): World {
  const world = new World(5, rules);
  for (const { nth, kinds } of steps) world.step(nth, kinds);
  world.settle();
  return world;
}

describe("The model of ownership", () => {
  it("leaves one row and one owner, the last starter, and no late write", () => {
    let [commits, takeovers] = [0, 0];
    fc.assert(
      fc.property(interleavings, (choices) => {
        const world = play(choices);
        commits += world.commits;
        takeovers += Math.max(0, world.started.length - 1);
      }),
      { numRuns: 5_000 },
    );
    // With few commits or takeovers, the runs would show little.
    assert.ok(commits > 2500 && takeovers > 2500);
  });

  for (const rule of Object.keys(allRules) as (keyof Rules)[]) {
    it(`breaks without the rule ${rule}`, () => {
      const result = fc.check(
        fc.property(
          interleavings,
          (choices) => void play(choices, { ...allRules, [rule]: false }),
        ),
        { numRuns: 50_000, seed: 1 },
      );
      assert.ok(result.failed, "Expected a violation");
      assert.ok(result.errorInstance instanceof Violation);
    });
  }
});

describe("The fence on a server", () => {
  it("refuses writes while our row is not the only one", async () => {
    await using test = await openTestStorage();
    const { storage, schema, url } = test;
    await using session = await testSession({ url });
    // A node whose snapshot was too old to see our row leaves the table like
    // this.
    await session.script(
      `ALTER TABLE ${schema}.singlenodekey DISABLE TRIGGER USER;
       INSERT INTO ${schema}.singlenodekey
         (uuid, storage_connection_time, info) VALUES ('node', now(), '')`,
    );
    await assert.rejects(
      storage.createStreamStorage(newStreamId(), {
        number: 0n,
        data: new Uint8Array([1]),
      }),
      (error) =>
        isStreamStorageError(error, "RESOURCE_EXHAUSTED") &&
        error.details.reason === "ownership_lost",
    );
    assert.ok(storage.signal.aborted);
  });

  it("keeps the row until the write that passed it has ended", async () => {
    await using test = await openTestStorage({ partitions: 1 });
    const { storage, schema, url } = test;
    const create = () =>
      storage.createStreamStorage(newStreamId(), {
        number: 0n,
        data: new Uint8Array([1]),
      });
    // Prepares the statements, so that the next write waits only after the
    // fence.
    await create();
    await using holder = await testSession({ url });
    await holder.script(
      `BEGIN; LOCK TABLE ${schema}.es IN SHARE ROW EXCLUSIVE MODE`,
    );
    const write = create();
    await using watcher = await testSession({ url });
    const held = `SELECT 1 FROM pg_stat_activity
      WHERE ${holder.processId} = ANY(pg_blocking_pids(pid))`;
    while ((await watcher.script(held)).length === 0);
    for (
      const change of [
        `DELETE FROM ${schema}.singlenodekey`,
        `UPDATE ${schema}.singlenodekey SET uuid = 'other'`,
      ]
    ) {
      await assert.rejects(
        watcher.script(`SET lock_timeout = 50; ${change}`),
        /lock timeout/,
      );
    }
    await holder.script("COMMIT");
    await write;
  });
});
