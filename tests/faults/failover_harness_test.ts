/**
 * A short run of `deno task failover`: what was acknowledged is kept when the
 * standby takes over, and a store is at one server at a time.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operation, State } from "../../scripts/crash/operation.ts";
import { whyNoFailover } from "../../scripts/failover/requirements.ts";
import { FailoverLedger } from "../../scripts/failover/ledger.ts";
import { type Answered, split } from "../../scripts/failover/probes.ts";
import { runTrial } from "../../scripts/failover/run.ts";
import type { TrialOptions } from "../../scripts/failover/trial.ts";
import { parseStreamId } from "../../src/storage/stream_id.ts";
import { whyNoNetwork } from "../support/network/network_namespace.ts";

const why = whyNoFailover() ?? await whyNoNetwork();
if (why !== undefined) {
  console.error(`The tests of failovers are NOT RUN: ${why}`);
}

type Case = Pick<TrialOptions, "scenario" | "mode" | "order" | "variant">;

const cases: Case[] = [
  { scenario: "crash", mode: "sync", order: "primary first", variant: 0 },
  // Writes would go to the new one, and reads to the old one.
  { scenario: "frozen", mode: "sync", order: "standby first", variant: 1 },
  // The waits are canceled.
  {
    scenario: "sync-backend-ends",
    mode: "sync",
    order: "primary first",
    variant: 1,
  },
  { scenario: "lost-row", mode: "async", order: "primary first", variant: 0 },
];

describe("A failover, when", { skip: why !== undefined }, () => {
  // Most of their time they wait, so they do that together.
  const seed = String(Date.now());
  const trials = why === undefined
    ? cases.map((one) => runTrial({ ...one, seed, streams: 20 }))
    : [];
  for (const trial of trials) trial.catch(() => {}); // each test looks at its own
  for (const [nth, { scenario }] of cases.entries()) {
    it(scenario, async () => {
      const { faults, acknowledged, lost } = await trials[nth]!;
      assert.deepEqual(faults, []);
      assert.ok(acknowledged > 300);
      if (scenario === "lost-row") assert.ok(lost > 0, "Expected a loss");
    });
  }
});

const stream = parseStreamId("20" + "0".repeat(62));
const create: Operation = { stream, kind: "create", block: [1, 0] };
const event = (slot: number): Operation => ({
  stream,
  kind: "event",
  generation: 1,
  slot,
  id: 10 + slot,
});
const candidate = (id: number): Operation => ({
  stream,
  kind: "candidate",
  number: 1,
  id,
});
const state = (events: number[], candidates: number[] = []): State => ({
  ephemeral: false,
  latestSnapshot: 0,
  blocks: [[0, 1, 0]],
  minipool: [1, events],
  candidates: candidates.map((id) => [1, id]),
});

/** A ledger of these calls; those with a question mark are of unknown outcome. */
function ledgerOf(...operations: (Operation | [Operation, "?"])[]) {
  const ledger = new FailoverLedger();
  for (const [call, one] of operations.entries()) {
    const [operation, isUnknown] = Array.isArray(one) ? one : [one];
    ledger.begin(call, operation);
    ledger.end(call, isUnknown ? "unknown" : "acknowledged");
  }
  return ledger;
}

describe("The ledger of failovers", () => {
  it("finds nothing lost where all is there", () => {
    const ledger = ledgerOf(create, event(0), [event(1), "?"]);
    ledger.observe(stream, state([10, 11]));
    ledger.countUnknown();
    assert.deepEqual(ledger.findings.lost, []);
    assert.deepEqual(ledger.counts.unknown, { there: 1, absent: 0 });
  });

  it("counts the last writes of a stream that are lost", () => {
    const ledger = ledgerOf(create, event(0), event(1), event(2));
    ledger.observe(stream, state([10]));
    assert.deepEqual(ledger.findings.lost, [event(1), event(2)]);
  });

  it("counts lost writes before others that are there", () => {
    const ledger = ledgerOf(create, candidate(5), candidate(6), event(0));
    ledger.observe(stream, state([10], [5]));
    assert.deepEqual(ledger.findings.lost, [candidate(6)]);
  });

  it("counts a lost stream, and a lost deletion", () => {
    const ledger = ledgerOf(create, event(0));
    ledger.observe(stream, undefined);
    assert.deepEqual(ledger.findings.lost, [create, event(0)]);
    const remove: Operation = { stream, kind: "delete" };
    const deleted = ledgerOf(create, remove);
    deleted.observe(stream, state([]));
    assert.deepEqual(deleted.findings.lost, [remove]);
  });

  it("tells a stale read from a loss", () => {
    const ledger = ledgerOf(create, event(0), event(1));
    assert.equal(ledger.look(stream, state([10])), false);
    ledger.observe(stream, state([10, 11]));
    assert.equal(ledger.findings.staleLooks, 1);
    assert.deepEqual(ledger.findings.lost, []);
  });

  it("counts a loss that a read has shown, once", () => {
    const ledger = ledgerOf(create, event(0), event(1));
    ledger.look(stream, state([10]));
    assert.equal(ledger.look(stream, state([10])), true);
    ledger.observe(stream, state([10]));
    assert.deepEqual(ledger.findings.lost, [event(1)]);
  });

  it("counts what a read has shown of an unknown outcome, and is gone", () => {
    const ledger = ledgerOf(create, [event(0), "?"]);
    ledger.look(stream, state([10]));
    ledger.observe(stream, state([]));
    ledger.countUnknown();
    assert.deepEqual(ledger.findings.retracted, [event(0)]);
    assert.deepEqual(ledger.findings.lost, []);
    assert.deepEqual(ledger.counts.unknown, { there: 0, absent: 1 });
  });

  it("finds what nobody wrote, and a failed write that is there", () => {
    const ledger = ledgerOf(create);
    ledger.begin(7, event(0));
    ledger.end(7, "failed");
    ledger.observe(stream, state([10]));
    assert.equal(ledger.findings.broken.length, 1);
  });
});

describe("Calls at both servers", () => {
  const answered = (
    server: Answered["server"],
    startedAt: number,
    endedAt: number,
  ): Answered => ({ kind: "read", server, startedAt, endedAt });

  it("are those that begin at the old one after one has ended at the new", () => {
    const late = answered("old", 7, 8);
    const answers = [
      answered("old", 1, 9),
      answered("new", 4, 5),
      answered("old", 5, 6),
      answered("new", 9, 10),
      late,
    ];
    assert.deepEqual(split(answers), [late]);
    assert.deepEqual(split([late]), []);
  });
});
