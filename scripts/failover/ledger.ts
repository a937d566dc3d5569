/**
 * What must be stored, as in crash/ledger.ts, where commits can be lost: it
 * counts what is missing instead of stopping at the first.
 *
 * Of each stream all states are remembered that it could have had. A stream
 * that is in none of those it may be in now is compared with them: when it is
 * as if some calls in a row had never been made, the acknowledged ones among
 * these are *missing*. In a look that the store gave that may be a look at the
 * wrong server, so both go on to be possible; in the tables of the surviving
 * primary they are lost.
 */
import type { StreamId } from "../../mod.ts";
import { Ledger, type Outcome } from "../crash/ledger.ts";
import { applied, type Operation, type State } from "../crash/operation.ts";

interface Call {
  operation: Operation;
  outcome: Outcome | undefined;
  /** Of an unknown outcome, what was found last. */
  wasThere?: boolean;
}

interface Branch {
  state: State;
  there: readonly Call[];
  absent: readonly Call[];
  /** As if these had never been made. */
  missing: readonly Call[];
}

interface Entry {
  branches: Branch[];
  /** Calls in their order; those behind `settled` are not in the branches. */
  calls: Call[];
  settled: number;
  /** What the stream could be after so many calls. */
  past: { calls: number; branches: Branch[] }[];
}

/** What the ledger has found to be wrong. */
export interface Findings {
  /** Acknowledged, and not in the tables of the surviving primary. */
  lost: Operation[];
  /** Looks of the store that lacked acknowledged writes. */
  staleLooks: number;
  /**
   * Writes of unknown outcome that a look has shown, and that are not there.
   */
  retracted: Operation[];
  /** Streams that are in no state that any loss explains. */
  broken: string[];
}

/** Keeps account; see the file's head. */
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

  /** The others are streams that are not looked at here. */
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

  /** The store has shown its caller this; true if nothing was missing. */
  look(stream: StreamId, state: State): boolean {
    const entry = this.#entry(stream);
    if (this.#settle(entry, state)) return true;
    this.findings.staleLooks++;
    const found = missing(entry, state);
    if (found === undefined) this.#break(stream, entry, state);
    else entry.branches = [...entry.branches, found];
    return false;
  }

  /** Counts the writes of unknown outcome, as they were found last. */
  countUnknown(): void {
    const calls = [...this.#entries.values()].flatMap(({ calls }) => calls);
    const unknown = calls.filter(({ outcome }) => outcome === "unknown");
    const there = unknown.filter(({ wasThere }) => wasThere).length;
    this.counts.unknown = { there, absent: unknown.length - there };
  }

  /** The surviving primary has this. */
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

  /** Whether the state is one of those that the calls allow; then it is. */
  #settle(entry: Entry, state: State): boolean {
    for (; entry.settled < entry.calls.length; entry.settled++) {
      const next = after(entry.branches, entry.calls[entry.settled]!);
      // None is left after a look at another server than the writes went to.
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

/** What one call makes of the branches: none are left if it can't have been. */
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
 * The branch that leads to this state if some calls in a row were never made:
 * as few as possible, and the latest. Undefined if there is none.
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
