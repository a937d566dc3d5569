/**
 * The histories of one stream that a loss ledger follows (loss_ledger.ts), and
 * how a call continues them.
 */
import type { Outcome } from "../../crash/ledger.ts";
import { applied, type Operation, type State } from "../../crash/operation.ts";

export interface Call {
  operation: Operation;
  outcome?: Outcome;
  endedAt: number;
}

/** A read of a stream; without a state it has not ended. */
export interface Read {
  at: number;
  found?: { state: State };
}

export type Item = Call | Read;

export interface History {
  phase: "whole" | "losing" | "resumed";
  /** The state that callers see. */
  state: State;
  /** The state that survives; differs only in the phase `losing`. */
  kept: State;
  lost: Lost | undefined;
  there: number;
  absent: number;
}

/** The lost acknowledged calls, the last one first. */
interface Lost {
  call: Call;
  count: number;
  before: Lost | undefined;
}

export interface Entry {
  histories: History[];
  items: Item[];
  /** One object for each state, so that states can be compared by identity. */
  known: Map<string, State>;
}

export function historyOf(state: State): History {
  const nothing = { lost: undefined, there: 0, absent: 0 };
  return { phase: "whole", state, kept: state, ...nothing };
}

type Apply = (state: State) => State | "refused";

/** Applies a call to states; computes each result once. */
export function applier(entry: Entry, item: Item): Apply {
  const done = new Map<State, State | "refused">();
  return (state) => {
    if (!("operation" in item)) return state;
    if (!done.has(state)) {
      const changed = applied(state, item.operation);
      done.set(
        state,
        changed === "refused" ? changed : canonical(entry, changed),
      );
    }
    return done.get(state);
  };
}

/**
 * Returns the histories after a call; none if the call cannot have ended this
 * way.
 */
export function afterCall(
  history: History,
  call: Call,
  apply: Apply,
): History[] {
  const { outcome = "unknown" } = call;
  if (outcome === "failed") return [history];
  const changed = apply(history.state);
  if (outcome === "acknowledged") {
    return changed === "refused" ? [] : [advance(history, changed, call)];
  }
  // The caller of a lost call of unknown outcome knows nothing of its result.
  const isLosing = history.phase === "losing";
  const { there, absent } = history;
  const without = isLosing ? history : { ...history, absent: absent + 1 };
  if (changed === "refused") return [without];
  const done = advance(history, changed);
  return [without, isLosing ? done : { ...done, there: there + 1 }];
}

function advance(history: History, state: State, call?: Call): History {
  if (history.phase !== "losing") return { ...history, state, kept: state };
  if (call === undefined) return { ...history, state };
  const lost = { call, count: countOf(history) + 1, before: history.lost };
  return { ...history, state, lost };
}

export function countOf({ lost }: History): number {
  return lost?.count ?? 0;
}

function canonical(entry: Entry, state: State): State {
  const text = textOf(state);
  if (!entry.known.has(text)) entry.known.set(text, state);
  return entry.known.get(text);
}

const texts = new WeakMap<object, string>();

export function textOf(state: State): string {
  if (state === undefined) return "nothing";
  let text = texts.get(state);
  if (text === undefined) {
    text = JSON.stringify(state);
    texts.set(state, text);
  }
  return text;
}

export function same(a: State, b: State): boolean {
  return a === b || textOf(a) === textOf(b);
}

/**
 * Keeps one of the histories that have become equal: the one that lost least.
 */
export function distinct(histories: readonly History[]): History[] {
  const numbers = new Map<State, number>();
  const numberOf = (state: State) => {
    if (!numbers.has(state)) numbers.set(state, numbers.size);
    return numbers.get(state);
  };
  const best = new Map<string, History>();
  for (const history of histories) {
    const { phase, state, kept } = history;
    const key = `${phase} ${numberOf(state)} ${numberOf(kept)}`;
    const other = best.get(key);
    if (other === undefined || countOf(history) < countOf(other)) {
      best.set(key, history);
    }
  }
  return [...best.values()];
}
