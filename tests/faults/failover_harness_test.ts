/**
 * Short runs of `deno task failover` with a real standby: acknowledged writes are
 * kept when the standby takes over, and a store uses one server at a time. The
 * ledger that decides this is tested by itself.
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
  // Without care, writes would go to the new server and reads to the old one.
  { scenario: "frozen", mode: "sync", order: "standby first", variant: 1 },
  // The server cancels the waits for the standby.
  {
    scenario: "sync-backend-ends",
    mode: "sync",
    order: "primary first",
    variant: 1,
  },
  { scenario: "lost-row", mode: "async", order: "primary first", variant: 0 },
];

describe(
  "A failover loses no acknowledged write",
  { skip: why !== undefined },
  () => {
    // The trials mostly wait, so they run at the same time.
    const seed = String(Date.now());
    const trials = why === undefined
      ? cases.map((one) => runTrial({ ...one, seed, streams: 20 }))
      : [];
    for (const trial of trials) trial.catch(() => {}); // each test awaits its own
    for (const [nth, { scenario }] of cases.entries()) {
      it(`that the standby has, in the scenario ${scenario}`, async () => {
        const { faults, acknowledged, lost } = await trials[nth]!;
        assert.deepEqual(faults, []);
        assert.ok(acknowledged > 300);
        if (scenario === "lost-row") assert.ok(lost > 0, "Expected a loss");
      });
    }
  },
);

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

/** A ledger of these calls; a question mark means an unknown outcome. */
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
  it("finds no loss if every write is there", () => {
    const ledger = ledgerOf(create, event(0), [event(1), "?"]);
    ledger.observe(stream, state([10, 11]));
    ledger.countUnknown();
    assert.deepEqual(ledger.findings.lost, []);
    assert.deepEqual(ledger.counts.unknown, { there: 1, absent: 0 });
  });

  it("counts the lost last writes of a stream", () => {
    const ledger = ledgerOf(create, event(0), event(1), event(2));
    ledger.observe(stream, state([10]));
    assert.deepEqual(ledger.findings.lost, [event(1), event(2)]);
  });

  it("counts a lost write before one that is there", () => {
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

  it("distinguishes a stale read from a loss", () => {
    const ledger = ledgerOf(create, event(0), event(1));
    assert.equal(ledger.look(stream, state([10])), false);
    ledger.observe(stream, state([10, 11]));
    assert.equal(ledger.findings.staleLooks, 1);
    assert.deepEqual(ledger.findings.lost, []);
  });

  it("counts a loss once, even if a read has already shown it", () => {
    const ledger = ledgerOf(create, event(0), event(1));
    ledger.look(stream, state([10]));
    assert.equal(ledger.look(stream, state([10])), true);
    ledger.observe(stream, state([10]));
    assert.deepEqual(ledger.findings.lost, [event(1)]);
  });

  it("counts a write of unknown outcome that a read has shown and that is gone", () => {
    const ledger = ledgerOf(create, [event(0), "?"]);
    ledger.look(stream, state([10]));
    ledger.observe(stream, state([]));
    ledger.countUnknown();
    assert.deepEqual(ledger.findings.retracted, [event(0)]);
    assert.deepEqual(ledger.findings.lost, []);
    assert.deepEqual(ledger.counts.unknown, { there: 0, absent: 1 });
  });

  it("finds a failed write that is there", () => {
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

  it("are those that begin at the old one after a call has ended at the new one", () => {
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
