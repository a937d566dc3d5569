/**
 * What must be stored, from what the callers were told.
 *
 * Of each stream the ledger knows the states in which it may be: one, as long
 * as every call was acknowledged or failed; more while the outcome of a call
 * is unknown, with and without what it wrote. A look at the stream must find
 * one of them, byte for byte and nothing else, and from then on it is the one.
 */
import type { StreamId } from "../../mod.ts";
import { applied, type Operation, type State } from "./operation.ts";

/** What a caller was told. */
export type Outcome = "acknowledged" | "failed" | "unknown";

/** The store broke its word. */
export class BrokenPromise extends Error {
  override name = "BrokenPromise";
}

/** How many calls there were, by what they were told. */
export interface Counts {
  acknowledged: number;
  /** Refused or rolled back. */
  failed: number;
  /** Not known, and what a look has found. */
  unknown: { there: number; absent: number };
}

interface Call {
  operation: Operation;
  outcome: Outcome | undefined;
  /** Of an unknown outcome, whether a look has found what it wrote. */
  wasThere?: boolean;
}

interface Possibility {
  state: State;
  /** Of the calls with an unknown outcome those that took place. */
  there: readonly Call[];
  absent: readonly Call[];
}

interface Entry {
  possible: Possibility[];
  calls: Call[];
}

/** Keeps account; see the file's head. */
export class Ledger {
  readonly counts: Counts = {
    acknowledged: 0,
    failed: 0,
    unknown: { there: 0, absent: 0 },
  };
  readonly #entries = new Map<StreamId, Entry>();
  readonly #calls = new Map<number, Call>();

  /** The streams of which there was any call. */
  get streams(): StreamId[] {
    return [...this.#entries.keys()];
  }

  /** A call is about to be made; its number is new. */
  begin(call: number, operation: Operation): void {
    const entry = this.#entry(operation.stream);
    const made: Call = { operation, outcome: undefined };
    entry.calls.push(made);
    this.#calls.set(call, made);
  }

  /** What the caller was told. */
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
   * The callers are gone or frozen: of what is under way nothing is known. If
   * a caller is told of it after all, it must be what was found meanwhile.
   */
  abandon(): void {
    for (const call of this.#calls.values()) call.outcome ??= "unknown";
  }

  /**
   * Compares a stream, of which no call is under way, with what it may be.
   *
   * @throws {BrokenPromise} when it is in none of its possible states.
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

/** The states that one becomes: none when the call can't have ended so. */
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
    `Call ${number} on stream ${operation.stream} was told ${outcome} after ` +
      `what it wrote was found ${wasThere ? "there" : "absent"}`,
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
      `Stream ${stream} is not what its callers were told, found:`,
      `  ${found ?? "nothing"}`,
      ...(states.length > 0 ? ["expected one of:"] : ["expected no state"]),
      ...states.map((state) => `  ${state}`),
      "after these calls:",
      ...shownCalls,
    ].join("\n"),
  );
}
