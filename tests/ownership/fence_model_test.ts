/**
 * A model of re-fencing keeps its invariants in every interleaving, within
 * bounds, of writes, lost answers, late flushes, re-fences, takeovers and
 * failovers. Each rule is needed: without it, an invariant breaks.
 *
 * `FENCE_MODEL=long` explores farther. It takes some minutes and 2 GB of memory
 * (under Bun with `--timeout=1200000`).
 */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import {
  comesToRest,
  type Exploration,
  explore,
} from "../support/fence_model/explore.ts";
import { FenceModel } from "../support/fence_model/model.ts";
import {
  allRules,
  type Bounds,
  invariants,
  type Rules,
} from "../support/fence_model/state.ts";

/** An exploration of the whole protocol. */
interface Exhaustive extends Bounds {
  title: string;
  /** With fewer states, the model would have lost some of its steps. */
  minStates: number;
}

/** The successor's clock is behind the first owner's, or ahead of it. */
const [clockBack, clockOn] = [[32, 16], [32, 48]];

/** These take about 10 s of processor time in all, and 500 MB. */
const usualBounds: Exhaustive[] = [
  {
    title: "three writes of a stream and one of a successor",
    times: clockBack,
    writes: [[3], [1]],
    losses: 2,
    late: 2,
    failovers: 0,
    minStates: 150_000,
  },
  {
    title: "two transaction slots and a successor",
    times: clockOn,
    writes: [[1, 1], [1, 0]],
    losses: 2,
    late: 1,
    failovers: 0,
    minStates: 220_000,
  },
  {
    title: "a failover",
    times: clockOn,
    writes: [[2], [1]],
    losses: 1,
    late: 1,
    failovers: 1,
    minStates: 20_000,
  },
];

/** These take minutes, and some gigabytes. */
const longBounds: Exhaustive[] = [
  {
    title: "three writes of a stream and two of a successor",
    times: clockBack,
    writes: [[3], [2]],
    losses: 3,
    late: 2,
    failovers: 0,
    minStates: 1_000_000,
  },
  {
    title: "two transaction slots, two writes in one, and a successor",
    times: clockOn,
    writes: [[2, 1], [1, 0]],
    losses: 2,
    late: 2,
    failovers: 0,
    minStates: 1_000_000,
  },
  {
    title: "three instances",
    times: [32, 16, 48],
    writes: [[1], [1], [1]],
    losses: 2,
    late: 2,
    failovers: 0,
    minStates: 1_000_000,
  },
  {
    title: "failovers between two transaction slots",
    times: clockOn,
    writes: [[2, 1], [1, 0]],
    losses: 1,
    late: 1,
    failovers: 2,
    minStates: 100_000,
  },
];

const isLong = process.env.FENCE_MODEL === "long";

/** Large enough for most rules to be missed. */
const oneStream: Bounds = {
  times: clockBack,
  writes: [[2], [1]],
  losses: 2,
  late: 1,
  failovers: 0,
};
const forward: Bounds = { ...oneStream, times: clockOn };
const twoStreams: Bounds = { ...oneStream, writes: [[1, 1]] };
const withFailover: Bounds = { ...oneStream, losses: 1, failovers: 1 };

/** The invariant that breaks without a rule; if possible, callers notice it. */
const broken: Record<keyof Rules, [invariant: string, within?: Bounds]> = {
  refenceBeforeRetry: [invariants.settledIsFinal],
  refenceBeforeLook: [invariants.settledIsFinal],
  refenceBeforeLaterWrites: [invariants.refenceIsNext, twoStreams],
  refenceBeforeNextContactAfterUnknown: [invariants.settledIsFinal],
  fenceComparesEpoch: [invariants.settledIsFinal],
  fenceHoldsShareLock: [invariants.settledIsFinal],
  updateWaitsForShareLocks: [invariants.settledIsFinal],
  epochIsNew: [invariants.ownerGoesOn],
  refenceOnlyRaises: [invariants.formerOwnersAreOut, forward],
  refenceCoversLostRefence: [invariants.ownerGoesOn],
  refenceStartsAtBase: [invariants.formerOwnersAreOut],
  refenceNeverInserts: [invariants.ownerGoesOn],
  stopWhenRowGone: [comesToRest],
  refenceDecides: [invariants.ownerGoesOn, withFailover],
  rerunOnlyWhenRefused: [invariants.onlyOnce, twoStreams],
  lookBeforeRetry: [invariants.onlyOnce],
  lookIsFenced: [invariants.reportsAreTrue],
  lookTakesNewSnapshot: [invariants.reportsAreTrue],
  watchCoversLostRefence: [invariants.ownerGoesOn],
  successorIsApart: [invariants.formerOwnersAreOut],
};

const allInvariants = [...Object.values(invariants), comesToRest];

/** Names the broken invariant and the shortest way to it. */
function textOf({ violation }: Exploration): string | undefined {
  return violation &&
    `Broken: ${violation.broken}\n  ${violation.trace.join("\n  ")}`;
}

describe("The model of re-fencing", () => {
  for (const bounds of isLong ? longBounds : usualBounds) {
    const { title, minStates } = bounds;
    it(`keeps every invariant with ${title}`, (t) => {
      const found = explore(new FenceModel(bounds));
      const { states, steps, depth } = found;
      t.diagnostic(`${states} states, ${steps} steps, ${depth} deep`);
      assert.equal(textOf(found), undefined);
      assert.ok(states >= minStates, `Only ${states} states`);
    });
  }

  for (const rule of Object.keys(allRules) as (keyof Rules)[]) {
    const [invariant, bounds = oneStream] = broken[rule];
    const model = () => new FenceModel(bounds, { ...allRules, [rule]: false });
    it(`breaks "${invariant}" without ${rule}`, (t) => {
      const others = allInvariants.filter((other) => other !== invariant);
      const found = explore(model(), others);
      const { states, violation } = found;
      assert.ok(violation, `No violation in ${states} states`);
      t.diagnostic(`Broken by ${violation.trace.length} steps`);
    });
  }

  it("keeps all but the bound on waiting without refenceBeforeLaterWrites", () => {
    const rules = { ...allRules, refenceBeforeLaterWrites: false };
    const bounds: Bounds = {
      ...oneStream,
      writes: [[1, 1], [1, 0]],
      losses: 1,
    };
    const found = explore(new FenceModel(bounds, rules), [
      invariants.refenceIsNext,
    ]);
    assert.equal(textOf(found), undefined);
    assert.ok(found.states > 20_000, `Only ${found.states} states`);
  });
});
