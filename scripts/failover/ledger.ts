/**
 * Knows what must be stored, as crash/ledger.ts does, in runs that can lose
 * commits. This ledger counts what is missing and does not stop at the first
 * fault.
 *
 * It remembers all states that each stream may have had. If a stream is in none
 * of the states that it may have now, the ledger compares it with the earlier
 * ones. If the stream is as if some calls in a row had never been made, the
 * acknowledged ones among these calls are *missing*. If the store has shown
 * that state, it may have come from the wrong server, so both states remain
 * possible. If the state is in the tables of the surviving primary, the missing
 * writes are lost.
 */
import type { StreamId } from "../../mod.ts";
import { Ledger, type Outcome } from "../crash/ledger.ts";
import { applied, type Operation, type State } from "../crash/operation.ts";

interface Call {
  operation: Operation;
  outcome: Outcome | undefined;
  /**
   * If the outcome is unknown: whether the last check found what the call
   * wrote.
   */
  wasThere?: boolean;
}

interface Branch {
  state: State;
  there: readonly Call[];
  absent: readonly Call[];
  /** The calls that seem never to have been made. */
  missing: readonly Call[];
}

interface Entry {
  branches: Branch[];
  /**
   * Calls in their order. The branches do not contain those after `settled`.
   */
  calls: Call[];
  settled: number;
  /** The states that the stream could have after each number of calls. */
  past: { calls: number; branches: Branch[] }[];
}

/** The faults that the ledger has found. */
export interface Findings {
  /**
   * Acknowledged writes that are not in the tables of the surviving primary.
   */
  lost: Operation[];
  /** How many reads of the store lacked acknowledged writes. */
  staleLooks: number;
  /**
   * Writes of unknown outcome that a read has shown, and that are not stored.
   */
  retracted: Operation[];
  /** Streams whose state no loss explains. */
  broken: string[];
}

/** Records calls and checks streams; see the file's head. */
export class FailoverLedger extends Ledger {
  readonly findings: Findings = {
    lost: [],
    staleLooks: 0,
    retracted: [],
    broken: [],
  };
  readonly #entries = new Map<StreamId, Entry>();
  readonly #open = new Map<number, Call>();
  readonly #others: readonly StreamId[];

  /** The ledger does not check the other streams. */
  constructor(others: readonly StreamId[] = []) {
    super();
    this.#others = others;
  }

  override get streams(): StreamId[] {
    return [...this.#entries.keys(), ...this.#others];
  }

  override begin(call: number, operation: Operation): void {
    const made: Call = { operation, outcome: undefined };
    this.#entry(operation.stream).calls.push(made);
    this.#open.set(call, made);
  }

  override end(call: number, outcome: Outcome): void {
    const made = this.#open.get(call);
    if (made === undefined) throw new Error(`Call ${call} is not known`);
    this.#open.delete(call);
    made.outcome = outcome;
    if (outcome !== "unknown") this.counts[outcome]++;
  }

  override abandon(): void {
    for (const call of this.#open.values()) call.outcome ??= "unknown";
    this.#open.clear();
  }

  /**
   * Takes a state that the store has shown. Returns whether nothing was
   * missing.
   */
  look(stream: StreamId, state: State): boolean {
    const entry = this.#entry(stream);
    if (this.#settle(entry, state)) return true;
    this.findings.staleLooks++;
    const found = missing(entry, state);
    if (found === undefined) this.#break(stream, entry, state);
    else entry.branches = [...entry.branches, found];
    return false;
  }

  /** Counts the writes of unknown outcome by what the last check has found. */
  countUnknown(): void {
    const calls = [...this.#entries.values()].flatMap(({ calls }) => calls);
    const unknown = calls.filter(({ outcome }) => outcome === "unknown");
    const there = unknown.filter(({ wasThere }) => wasThere).length;
    this.counts.unknown = { there, absent: unknown.length - there };
  }

  /** Takes the state in the tables of the surviving primary. */
  override observe(stream: StreamId, state: State): void {
    if (this.#others.includes(stream)) return;
    const entry = this.#entry(stream);
    const found = this.#settle(entry, state)
      ? entry.branches[0]!
      : missing(entry, state);
    if (found === undefined) return this.#break(stream, entry, state);
    const { lost, retracted } = this.findings;
    for (const call of found.missing) {
      if (call.outcome === "acknowledged") lost.push(call.operation);
    }
    for (const call of found.there) call.wasThere = true;
    for (const call of [...found.absent, ...found.missing]) {
      if (call.wasThere) retracted.push(call.operation);
      call.wasThere = false;
    }
    entry.branches = [newBranch(state)];
  }

  #entry(stream: StreamId): Entry {
    let entry = this.#entries.get(stream);
    if (entry === undefined) {
      entry = {
        branches: [newBranch(undefined)],
        calls: [],
        settled: 0,
        past: [{ calls: 0, branches: [newBranch(undefined)] }],
      };
      this.#entries.set(stream, entry);
    }
    return entry;
  }

  /** If the calls allow the state, makes it the only one and returns true. */
  #settle(entry: Entry, state: State): boolean {
    for (; entry.settled < entry.calls.length; entry.settled++) {
      const next = after(entry.branches, entry.calls[entry.settled]!);
      // No branch remains if the state came from another server than the
      // writes.
      if (next.length > 0) entry.branches = next;
      const { branches } = entry;
      entry.past.push({ calls: entry.settled + 1, branches });
    }
    const text = JSON.stringify(state);
    const found = entry.branches.find((one) =>
      JSON.stringify(one.state) === text
    );
    if (found === undefined) return false;
    for (const call of found.there) call.wasThere = true;
    for (const call of found.absent) call.wasThere = false;
    entry.branches = [{ ...found, there: [], absent: [] }];
    return true;
  }

  #break(stream: StreamId, entry: Entry, state: State): void {
    const lastCalls = entry.calls.slice(-8).map(({ operation, outcome }) =>
      `${outcome} ${JSON.stringify({ ...operation, stream: undefined })}`
    );
    const expected = entry.branches.map((one) => JSON.stringify(one.state));
    this.findings.broken.push(
      [
        `Stream ${stream} is in a state that no loss explains:`,
        JSON.stringify(state) ?? "nothing",
        ...["expected one of:", ...expected, "last calls:", ...lastCalls],
      ].join("\n  "),
    );
    entry.branches = [...entry.branches, newBranch(state)];
  }
}

function newBranch(state: State): Branch {
  return { state, there: [], absent: [], missing: [] };
}

/**
 * Applies a call to the branches; none remain if the call is impossible in all.
 */
function after(branches: readonly Branch[], call: Call): Branch[] {
  const { operation, outcome } = call;
  if (outcome === "failed") return [...branches];
  return branches.flatMap((branch) => {
    const state = applied(branch.state, operation);
    if (outcome === "acknowledged") {
      return state === "refused" ? [] : [{ ...branch, state }];
    }
    const absent = { ...branch, absent: [...branch.absent, call] };
    if (state === "refused") return [absent];
    return [absent, { ...branch, state, there: [...branch.there, call] }];
  });
}

/**
 * Finds the branch that leads to this state if some calls in a row were never
 * made: as few calls as possible, and the last such. Undefined if there is
 * none.
 */
function missing(entry: Entry, state: State): Branch | undefined {
  const text = JSON.stringify(state);
  const { calls } = entry;
  for (const past of entry.past.toReversed()) {
    for (let next = past.calls; next <= calls.length; next++) {
      let left: readonly Branch[] = past.branches;
      for (let at = next; at < calls.length && left.length > 0; at++) {
        left = after(left, calls[at]!);
      }
      const found = left.find((one) => JSON.stringify(one.state) === text);
      if (found !== undefined) {
        return { ...found, missing: calls.slice(past.calls, next) };
      }
    }
  }
  return undefined;
}
