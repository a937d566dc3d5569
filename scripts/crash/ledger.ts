/**
 * Knows what must be stored, from the results of the calls.
 *
 * The ledger knows the states in which each stream may be. A stream has one
 * state as long as every call was acknowledged or failed. While the outcome of
 * a call is unknown, it has several: with and without what the call wrote. A
 * check of the stream must find one of them, byte for byte and nothing else.
 * From then on that state is the only one.
 */
import type { StreamId } from "../../mod.ts";
import { applied, type Operation, type State } from "./operation.ts";

/** The result of a call, as its caller sees it. */
export type Outcome = "acknowledged" | "failed" | "unknown";

/** The store has broken a promise. */
export class BrokenPromise extends Error {
  override name = "BrokenPromise";
}

/** How many calls ended with which outcome. */
export interface Counts {
  acknowledged: number;
  /** Calls that were refused or rolled back. */
  failed: number;
  /** Calls of unknown outcome, by what a check has found. */
  unknown: { there: number; absent: number };
}

interface Call {
  operation: Operation;
  outcome: Outcome | undefined;
  /**
   * If the outcome is unknown: whether a check has found what the call wrote.
   */
  wasThere?: boolean;
}

interface Possibility {
  state: State;
  /** The calls of unknown outcome that took effect. */
  there: readonly Call[];
  absent: readonly Call[];
}

interface Entry {
  possible: Possibility[];
  calls: Call[];
}

/** Records calls and checks streams; see the file's head. */
export class Ledger {
  readonly counts: Counts = {
    acknowledged: 0,
    failed: 0,
    unknown: { there: 0, absent: 0 },
  };
  readonly #entries = new Map<StreamId, Entry>();
  readonly #calls = new Map<number, Call>();

  /** The streams for which a call was made. */
  get streams(): StreamId[] {
    return [...this.#entries.keys()];
  }

  /** Records that a call begins; its number is new. */
  begin(call: number, operation: Operation): void {
    const entry = this.#entry(operation.stream);
    const made: Call = { operation, outcome: undefined };
    entry.calls.push(made);
    this.#calls.set(call, made);
  }

  /** Records how a call ended. */
  end(call: number, outcome: Outcome): void {
    const made = this.#calls.get(call);
    if (made === undefined) {
      throw new Error(`Expected call ${call} to be known`);
    }
    if (made.outcome !== undefined) return checkLate(call, made, outcome);
    made.outcome = outcome;
    if (outcome !== "unknown") this.counts[outcome]++;
  }

  /**
   * Records that the callers are gone or frozen, so the outcome of calls in
   * flight is unknown. If such a call ends after all, its outcome must agree
   * with what a check has found meanwhile.
   */
  abandon(): void {
    for (const call of this.#calls.values()) call.outcome ??= "unknown";
  }

  /**
   * Compares a stream with its possible states. No call on it may be in flight.
   *
   * @throws {BrokenPromise} the stream is in none of its possible states.
   */
  observe(stream: StreamId, state: State): void {
    const entry = this.#entry(stream);
    for (const call of entry.calls) {
      entry.possible = entry.possible.flatMap((one) => after(one, call));
    }
    const text = JSON.stringify(state);
    const found = entry.possible.find((one) =>
      JSON.stringify(one.state) === text
    );
    if (found === undefined) throw brokenPromise(stream, entry, text);
    for (const call of found.there) call.wasThere = true;
    for (const call of found.absent) call.wasThere = false;
    this.counts.unknown.there += found.there.length;
    this.counts.unknown.absent += found.absent.length;
    entry.possible = [{ state, there: [], absent: [] }];
    entry.calls = [];
  }

  #entry(stream: StreamId): Entry {
    let entry = this.#entries.get(stream);
    if (entry === undefined) {
      const nothing = { state: undefined, there: [], absent: [] };
      entry = { possible: [nothing], calls: [] };
      this.#entries.set(stream, entry);
    }
    return entry;
  }
}

/** The states after a call; none if the call cannot have ended this way. */
function after(before: Possibility, call: Call): Possibility[] {
  if (call.outcome === "failed") return [before];
  const state = applied(before.state, call.operation);
  if (call.outcome === "acknowledged") {
    return state === "refused" ? [] : [{ ...before, state }];
  }
  const absent = { ...before, absent: [...before.absent, call] };
  if (state === "refused") return [absent];
  return [absent, { ...before, state, there: [...before.there, call] }];
}

function checkLate(
  number: number,
  { operation, wasThere }: Call,
  outcome: Outcome,
): void {
  if (outcome === "unknown" || wasThere === (outcome === "acknowledged")) {
    return;
  }
  throw new BrokenPromise(
    `Call ${number} on stream ${operation.stream} ended as ${outcome} after ` +
      `a check had found what it wrote ${wasThere ? "there" : "absent"}`,
  );
}

function brokenPromise(
  stream: StreamId,
  { possible, calls }: Entry,
  found: string | undefined,
): BrokenPromise {
  const states = possible.map(({ state }) =>
    JSON.stringify(state) ?? "nothing"
  );
  const shownCalls = calls.map((
    { operation: { stream: _, ...rest }, outcome },
  ) => `  ${outcome} ${JSON.stringify(rest)}`);
  return new BrokenPromise(
    [
      `Stream ${stream} does not agree with the results of its calls, found:`,
      `  ${found ?? "nothing"}`,
      ...(states.length > 0 ? ["expected one of:"] : ["expected no state"]),
      ...states.map((state) => `  ${state}`),
      "after these calls:",
      ...shownCalls,
    ].join("\n"),
  );
}
