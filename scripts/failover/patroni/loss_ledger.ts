/**
 * A ledger that counts lost acknowledged writes and goes on after them.
 *
 * A failover removes the end of what was written to a stream before it: the
 * calls up to some moment are on the server that takes over, the calls after
 * that moment are not, and the stream goes on from there. So the ledger follows
 * three kinds of histories of each stream at once:
 *
 *     whole ── a call that is lost, and the next ones ──▶ losing ──▶ resumed
 *
 * In `whole` and `resumed` there is one state. In `losing` there are two: the
 * state on the server that will die, and the state that the other server keeps.
 * A history that contradicts a read is dropped. At the end, the history that
 * lost least counts. If no history remains, no failover excuses what the store
 * did: for example, it wrote on one server and read on the other.
 *
 * Because there are many histories, the ledger searches the smaller sets first:
 * histories without a loss; then those in which a read or a refusal showed the
 * end of the loss, or in which it ended late, when the former primary was gone;
 * then all.
 */
import type { StreamId } from "../../../mod.ts";
import { Ledger, type Outcome } from "../../crash/ledger.ts";
import type { Operation, State } from "../../crash/operation.ts";
import {
  afterCall,
  applier,
  type Call,
  countOf,
  distinct,
  type Entry,
  type History,
  historyOf,
  type Item,
  type Read,
  same,
  textOf,
} from "./histories.ts";

/** When acknowledged writes may be lost, by `performance.now()`. */
export interface Window {
  from: number;
  until: number;
}

/**
 * The best history, or the histories that explained everything up to some item.
 */
type Followed = { best: History } | Broken;

interface Broken {
  histories: readonly History[];
  /**
   * The first item that they do not explain; after the last item: the final
   * state.
   */
  brokenAt: number;
}

/** Which histories a search follows, and what they have to explain. */
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

/** The searches for a stream whose reads cannot be explained. */
const searchesOfWrites = searches.map(({ loss }) => ({ loss, reads: false }));

/**
 * With more histories than these, the search stops and reports a contradiction.
 */
const maxHistories = 20_000;

/**
 * A loss ends late if it ends in the last milliseconds in which writes may be
 * lost.
 */
const lateMs = 6000;

/** See the file's head. */
export class LossLedger extends Ledger {
  /** How many acknowledged writes are lost. */
  lost = 0;
  /** When the last of them was acknowledged, by `performance.now()`. */
  lastLostAt: number | undefined;
  /** Contradictions that no failover explains. */
  readonly contradictions: string[] = [];
  readonly #entries = new Map<StreamId, Entry>();
  readonly #calls = new Map<number, Call>();
  #window: Window = { from: Infinity, until: -Infinity };
  #isFinal = false;

  override get streams(): StreamId[] {
    return [...this.#entries.keys()];
  }

  /** Allows the loss of writes that are acknowledged in this window. */
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
   * Records that a read of the stream begins, before the call that began last.
   * The returned function takes the state that the read has found.
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

  /** Takes the state of a stream that was read while no call was in flight. */
  override observe(stream: StreamId, state: State): void {
    const entry = this.#entry(stream);
    if (!this.#isFinal) {
      entry.items.push({ at: performance.now(), found: { state } });
      return;
    }
    this.#settle(stream, entry, state);
  }

  /** States that `check` observes are those of the new primary, and final. */
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
   * Follows everything that has happened since the last settlement, up to the
   * state now.
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

  /** The phases in which a history may meet the next item. */
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
