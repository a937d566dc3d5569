/**
 * A write is lost, repeated and acknowledged, and its first copy reaches a real
 * server only after later writes: it must change nothing. This is a sample of
 * the combinations, and tests of the harness; scripts/late_copy.ts runs them
 * all.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bind, statement } from "../../src/database/statement.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import { allVariants, showCall } from "../support/late_copy/calls.ts";
import {
  combinationsOf,
  KNOWN_LOSSES,
} from "../support/late_copy/known_losses.ts";
import { matchesFlush } from "../support/late_copy/late_proxy.ts";
import { openLateCopyStore } from "../support/late_copy/settings.ts";
import { allCombinations, lateCopyTests } from "../support/late_copy/smoke.ts";
import { changesOf } from "../support/late_copy/stored_state.ts";
import { WRITE_VARIANTS } from "../support/late_copy/write_calls.ts";
import { testSession } from "../support/sessions.ts";

describe("A late copy of a lost write", () => {
  lateCopyTests(["read committed", "repeatable read", "serializable"]);
});

describe("The late-copy harness", () => {
  it("loses every variant of every write, and lets each operation follow", async () => {
    const all = await allCombinations();
    const lost = new Set(all.map(({ first }) => showCall(first)));
    for (const { operation, variant } of allVariants()) {
      const call = { operation, variant: variant.name, args: [] };
      assert.ok(lost.has(showCall(call)), showCall(call));
    }
    const later = new Set(
      all.flatMap(({ later }) => later.map(({ operation }) => operation)),
    );
    assert.deepEqual([...later].sort(), Object.keys(WRITE_VARIANTS).sort());
  });

  it("generates every kind of combination that once lost data", async () => {
    const all = await allCombinations();
    for (const loss of KNOWN_LOSSES) {
      assert.ok(combinationsOf(loss, all).length > 0, loss.name);
    }
    assert.equal(KNOWN_LOSSES.length, 13);
  });

  it("notices what a late copy without a fence changes", async () => {
    await using store = await openLateCopyStore("read committed");
    const { storage, schema, proxy, state } = store;
    const id = newStreamId();
    await storage.createStreamStorage(id, snapshotBlock(0));
    const session = await testSession({ url: proxy.url });
    const late = proxy.hold(matchesFlush(id), 1);
    const unfenced = statement({
      text: `DELETE FROM ${schema}.es WHERE stream_id = $1`,
      params: ["varchar"],
    });
    await assert.rejects(session.run([bind(unfenced, id)]));
    assert.ok(late.isHeld);
    const before = await state.lines();
    assert.deepEqual(await late.deliver(), { end: "executed" });
    const changes = changesOf(before, await state.lines());
    assert.equal(changes.length, 1);
    assert.match(changes[0]!, new RegExp(`^- es .*${id}`));
  });
});
