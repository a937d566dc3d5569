/**
 * A ledger that goes on where acknowledged writes are lost, and counts them.
 *
 * A failover takes from a stream the end of what was written before it: the
 * calls up to some moment are on the server that takes over, those from there on
 * are not, and later ones come after the former. So of each stream the ledger
 * follows three kinds of histories at once:
 *
 *     whole ── a call that is lost, and the next ones ──▶ losing ──▶ resumed
 *
 * In `whole` and `resumed` there is one state. In `losing` there are two: what
 * the server shows that will die, and what the other one keeps. A history that
 * contradicts what was read drops out. At the end the one that lost least is
 * the one. If there is none the store did what no failover excuses: say, it wrote
 * on one server and read on the other.
 *
 * Histories are many, so they are looked for where they are few first: those
 * without a loss, then those in which the end of the loss was noticed, by a read
 * or a refusal, or came late, when the former primary was no more, then all.
 */
import type { StreamId } from "../../../mod.ts";
import { Ledger, type Outcome } from "../../crash/ledger.ts";
import { applied, type Operation, type State } from "../../crash/operation.ts";

/** When acknowledged writes may be lost, by `performance.now()`. */
export interface Window {
  from: number;
  until: number;
}

interface Call {
  operation: Operation;
  outcome?: Outcome;
  endedAt: number;
}

/** A moment at which a stream was read; without a state it was not. */
interface Read {
  at: number;
  found?: { state: State };
}

type Item = Call | Read;

interface History {
  phase: "whole" | "losing" | "resumed";
  /** What callers see. */
  state: State;
  /** What is kept; the same but while losing. */
  kept: State;
  lost: Lost | undefined;
  there: number;
  absent: number;
}

/** Acknowledged calls that are lost, the last one first. */
interface Lost {
  call: Call;
  count: number;
  before: Lost | undefined;
}

/** The history that explains all, or those that did until something broke. */
type Followed = { best: History } | Broken;

interface Broken {
  histories: readonly History[];
  /** What they don't explain; behind the last item that is the end. */
  brokenAt: number;
}

/** Which histories are looked for, and what they have to explain. */
interface Search {
  loss: "none" | "noticed" | "late" | "any";
  reads: boolean;
}

const searches: readonly Search[] = [
  { loss: "none", reads: true },
  { loss: "noticed", reads: true },
  { loss: "late", reads: true },
  { loss: "any", reads: true },
];

/** For a stream whose reads can't be explained. */
const searchesOfWrites = searches.map(({ loss }) => ({ loss, reads: false }));

interface Entry {
  histories: History[];
  items: Item[];
  /** The same object for the same state. */
  known: Map<string, State>;
}

/** More of them than this are not followed: the stream is a contradiction. */
const maxHistories = 20_000;

/** Late is what happens in the last so many ms in which writes may be lost. */
const lateMs = 6000;

/** See the file's head. */
export class LossLedger extends Ledger {
  /** Acknowledged and lost. */
  lost = 0;
  /** When the last of these was acknowledged, by `performance.now()`. */
  lastLostAt: number | undefined;
  /** What no failover explains. */
  readonly contradictions: string[] = [];
  readonly #entries = new Map<StreamId, Entry>();
  readonly #calls = new Map<number, Call>();
  #window: Window = { from: Infinity, until: -Infinity };
  #isFinal = false;

  override get streams(): StreamId[] {
    return [...this.#entries.keys()];
  }

  /** What was acknowledged outside of it can't be lost. */
  allowLoss(window: Window): void {
    this.#window = window;
  }

  override begin(call: number, operation: Operation): void {
    const made = { operation, endedAt: Infinity };
    this.#entry(operation.stream).items.push(made);
    this.#calls.set(call, made);
  }

  override end(call: number, outcome: Outcome): void {
    const made = this.#calls.get(call);
    if (made === undefined) throw new Error(`Expected call ${call}`);
    this.#calls.delete(call);
    made.outcome = outcome;
    made.endedAt = performance.now();
    if (outcome !== "unknown") this.counts[outcome]++;
  }

  /**
   * A stream is about to be read, before the call that was begun last; call back
   * with what was found.
   */
  beginRead(stream: StreamId): (state: State) => void {
    const { items } = this.#entry(stream);
    const read: Read = { at: Infinity };
    items.splice(-1, 0, read);
    return (state) => {
      read.at = performance.now();
      read.found = { state };
    };
  }

  /** What was found in a stream while no call was under way. */
  override observe(stream: StreamId, state: State): void {
    const entry = this.#entry(stream);
    if (!this.#isFinal) {
      entry.items.push({ at: performance.now(), found: { state } });
      return;
    }
    this.#settle(stream, entry, state);
  }

  /** What is observed meanwhile is what the new primary has, and final. */
  async finally(check: () => Promise<void>): Promise<void> {
    this.#isFinal = true;
    try {
      await check();
    } finally {
      this.#isFinal = false;
      this.#window = { from: Infinity, until: -Infinity };
    }
  }

  #entry(stream: StreamId): Entry {
    let entry = this.#entries.get(stream);
    if (entry === undefined) {
      const histories = [historyOf(undefined)];
      entry = { histories, items: [], known: new Map() };
      this.#entries.set(stream, entry);
    }
    return entry;
  }

  /**
   * Goes through all that has happened since the last settlement, and what is
   * there now.
   */
  #follow(entry: Entry, final: State, { loss, reads }: Search): Followed {
    let { histories } = entry;
    for (const [nth, item] of entry.items.entries()) {
      const isCall = "operation" in item;
      if (!isCall && (!reads || item.found === undefined)) continue;
      const here = histories.flatMap((history) =>
        this.#options(history, item, loss)
      );
      const apply = applier(entry, item);
      const after = isCall
        ? here.flatMap((history) => afterCall(history, item, apply))
        : here.filter(({ state }) => same(state, item.found?.state));
      const next = distinct(after);
      if (next.length === 0 || next.length > maxHistories) {
        return { histories, brokenAt: nth };
      }
      histories = next;
    }
    const [best] = histories.filter(({ kept }) => same(kept, final))
      .sort((a, b) => countOf(a) - countOf(b));
    return best ? { best } : { histories, brokenAt: entry.items.length };
  }

  /** The phases in which a history may meet the next thing. */
  #options(history: History, item: Item, loss: Search["loss"]): History[] {
    if (loss === "none") return [history];
    const { from, until } = this.#window;
    const isCall = "operation" in item;
    const at = isCall ? item.endedAt : item.at;
    const isWithin = at >= from && at <= until;
    const isFailed = isCall && item.outcome === "failed";
    switch (history.phase) {
      case "whole":
        return isWithin && isCall && !isFailed
          ? [history, { ...history, phase: "losing" }]
          : [history];
      case "losing": {
        const { kept } = history;
        const resumed: History = { ...history, phase: "resumed", state: kept };
        if (!isWithin) return [resumed];
        const mayResume = loss === "any" || !isCall || isFailed ||
          (loss === "late" && at >= until - lateMs);
        return mayResume ? [history, resumed] : [history];
      }
      case "resumed":
        return [history];
    }
  }

  #search(
    entry: Entry,
    final: State,
    searches: readonly Search[],
  ): Followed {
    let followed: Followed | undefined;
    for (const search of searches) {
      followed = this.#follow(entry, final, search);
      if ("best" in followed) break;
    }
    return followed!;
  }

  #settle(stream: StreamId, entry: Entry, state: State): void {
    let followed = this.#search(entry, state, searches);
    if (!("best" in followed)) {
      this.#contradict("reads and writes", stream, entry, state, followed);
      followed = this.#search(entry, state, searchesOfWrites);
    }
    if ("best" in followed) {
      this.#count(followed.best);
    } else {
      this.#contradict("writes alone", stream, entry, state, followed);
    }
    entry.items = [];
    entry.known = new Map([[textOf(state), state]]);
    entry.histories = [historyOf(state)];
  }

  #count(history: History): void {
    this.lost += countOf(history);
    this.counts.unknown.there += history.there;
    this.counts.unknown.absent += history.absent;
    for (let lost = history.lost; lost; lost = lost.before) {
      const { endedAt } = lost.call;
      this.lastLostAt = Math.max(this.lastLostAt ?? 0, endedAt);
    }
  }

  #contradict(
    what: string,
    stream: StreamId,
    { items }: Entry,
    final: State,
    { histories, brokenAt }: Broken,
  ): void {
    const end = { at: performance.now(), found: { state: final } };
    const last = [...items, end].slice(0, brokenAt + 1).slice(-8);
    const states = histories.slice(0, 3).map(({ phase, state, kept }) =>
      `  ${phase} ${textOf(state)}` +
      (same(state, kept) ? "" : `, kept ${textOf(kept)}`)
    );
    this.contradictions.push([
      `No failover explains the ${what} of stream ${stream}.`,
      `What explained them so far, ${histories.length} in all:`,
      ...states,
      `after these, ${brokenAt + 1} of ${items.length + 1}:`,
      ...last.map(lineOf),
    ].join("\n"));
  }
}

function lineOf(item: Item): string {
  if (!("operation" in item)) {
    return `  read at ${item.at.toFixed()} ms ${textOf(item.found?.state)}`;
  }
  const { operation: { stream: _, ...rest }, outcome, endedAt } = item;
  return `  ${outcome} at ${endedAt.toFixed()} ms ${JSON.stringify(rest)}`;
}

function historyOf(state: State): History {
  const nothing = { lost: undefined, there: 0, absent: 0 };
  return { phase: "whole", state, kept: state, ...nothing };
}

type Apply = (state: State) => State | "refused";

/** What the call makes of a state, worked out once for each state. */
function applier(entry: Entry, item: Item): Apply {
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

/** None when the call can't have ended so. */
function afterCall(history: History, call: Call, apply: Apply): History[] {
  const { outcome = "unknown" } = call;
  if (outcome === "failed") return [history];
  const changed = apply(history.state);
  if (outcome === "acknowledged") {
    return changed === "refused" ? [] : [advance(history, changed, call)];
  }
  // Of a lost call of unknown outcome nobody was told anything.
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

function countOf({ lost }: History): number {
  return lost?.count ?? 0;
}

function canonical(entry: Entry, state: State): State {
  const text = textOf(state);
  if (!entry.known.has(text)) entry.known.set(text, state);
  return entry.known.get(text);
}

const texts = new WeakMap<object, string>();

function textOf(state: State): string {
  if (state === undefined) return "nothing";
  let text = texts.get(state);
  if (text === undefined) {
    text = JSON.stringify(state);
    texts.set(state, text);
  }
  return text;
}

function same(a: State, b: State): boolean {
  return a === b || textOf(a) === textOf(b);
}

/** Of histories that can't be told apart any more, the one that lost least. */
function distinct(histories: readonly History[]): History[] {
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
