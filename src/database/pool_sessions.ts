/**
 * The sessions of a pool: which of them gets the next work, and which one ends.
 *
 *     open ──▶ ending ──▶ gone for us ──▶ gone for the server
 *       └──────────────────▲
 *
 * A session that ends gets no more work, and finishes what it has. One that is
 * gone for us may go on at the server; until that has let go, it keeps its place.
 */

import type { ConnectionEnd } from "../telemetry/known_names.ts";
import type { Session } from "./session.ts";
import type { PoolUse } from "./waiting_calls.ts";

/** How a pool hears of its sessions. */
export interface PoolSessionEvents {
  /** One has answered, for the first time or again, and may have room. */
  answered(isFirst: boolean): void;
  /**
   * One is gone, for this reason; badly, if connecting at once would be no good
   * idea.
   */
  gone(why: ConnectionEnd, isBad: boolean): void;
  /** The server, too, has let go. */
  released(): void;
}

/** Why we end a session. */
type Ending = Exclude<ConnectionEnd, "lost">;

/** For the goodbyes, however little is left of the budget. */
const goodbyeMs = 500;

/** Between two looks for sessions that are idle. */
const minLookMs = 10;

/** See the file's head. */
export class PoolSessions {
  readonly #events: PoolSessionEvents;
  readonly #idleTimeoutMs: number;
  readonly #open = new Set<Session>();
  readonly #leaving = new Set<Session>();
  readonly #ending = new Map<Session, Ending>();
  /** What each session did last. */
  readonly #uses = new WeakMap<Session, PoolUse>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Those that were idle for so long end, all but one. */
  constructor(idleTimeoutMs: number, events: PoolSessionEvents) {
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#events = events;
  }

  /** Sessions that are not gone for us. */
  get size(): number {
    return this.#open.size;
  }

  /** Sessions that are gone for us, and not yet for the server. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /** Of the open ones, such that get no more work. */
  get ending(): number {
    return this.#ending.size;
  }

  /** Sessions with nothing to do. */
  get idle(): number {
    let idle = 0;
    for (const session of this.#open) if (session.inFlight === 0) idle++;
    return idle;
  }

  /** An idle session: of the same use, else of none yet, else any. */
  idleFor(use: PoolUse): Session | undefined {
    let unused: Session | undefined;
    let other: Session | undefined;
    for (const session of this.#open) {
      if (session.inFlight > 0 || !this.#isAtWork(session)) continue;
      const last = this.#uses.get(session);
      if (last === use) return session;
      if (last === undefined) unused ??= session;
      else other ??= session;
    }
    return unused ?? other;
  }

  /** The one with the least to do. */
  shortest(): Session | undefined {
    let best: Session | undefined;
    for (const session of this.#open) {
      if (!this.#isAtWork(session)) continue;
      if (session.inFlight < (best?.inFlight ?? Infinity)) best = session;
    }
    return best;
  }

  /** What it did last; undefined: nothing yet. */
  useOf(session: Session): PoolUse | undefined {
    return this.#uses.get(session);
  }

  /** The session gets work of this kind. */
  use(session: Session, use: PoolUse): void {
    this.#uses.set(session, use);
  }

  /** Takes a new one. */
  add(session: Session): void {
    this.#open.add(session);
    if (this.#timer === undefined) this.#endIdle();
    let hasAnswered = false;
    session.onIdle(() => {
      const isFirst = !hasAnswered;
      hasAnswered = true;
      const isOver = this.#ending.has(session) && session.inFlight === 0;
      if (isOver) void session.close();
      this.#events.answered(isFirst);
    });
    void session.closed.then(() => {
      this.#open.delete(session);
      this.#leaving.add(session);
      const why = this.#ending.get(session);
      this.#ending.delete(session);
      const isLost = !hasAnswered || session.isGivenUp;
      const isBad = why === "refused" || (why === undefined && isLost);
      this.#events.gone(why ?? "lost", isBad);
    });
    void session.released.then(() => {
      this.#leaving.delete(session);
      this.#events.released();
    });
  }

  /** Ends the one with the least to do; fulfilled when it is gone. */
  giveWay(): Promise<void> | undefined {
    const session = this.shortest();
    if (session !== undefined) this.#end(session, "refused");
    return session?.closed;
  }

  /**
   * Ends one that was idle for so long, with 0 one that is busy, too. Never the
   * last one; whether there was one.
   */
  giveBack(idleMs: number, why: Ending = "spare"): boolean {
    const atWork = [...this.#open].filter((each) => this.#isAtWork(each));
    if (atWork.length < 2) return false;
    const since = performance.now() - idleMs;
    // The first are those that get work first.
    const spare = atWork.findLast(({ inFlight, receivedAt }) =>
      idleMs === 0 || (inFlight === 0 && receivedAt <= since)
    );
    if (spare !== undefined) this.#end(spare, why);
    return spare !== undefined;
  }

  /** No session gets more work; each finishes what it has. */
  endAll(why: Ending): void {
    for (const session of this.#open) {
      if (this.#isAtWork(session)) this.#end(session, why);
    }
  }

  /** Breaks what is under way, and lets the others say goodbye until then. */
  async close(deadline: number): Promise<void> {
    clearTimeout(this.#timer);
    const sessions = [...this.#open, ...this.#leaving];
    for (const session of sessions) {
      if (session.inFlight > 0) session.giveUp("Closed before the answer came");
    }
    // A server that is gone takes no leave.
    const goodbyes = setTimeout(() => {
      for (const session of sessions) {
        session.destroy("The server did not close the connection in time");
      }
    }, Math.max(goodbyeMs, deadline - performance.now()));
    await Promise.all(sessions.map(async (session) => {
      await session.close();
      await session.released;
    }));
    clearTimeout(goodbyes);
    clearTimeout(this.#timer);
  }

  /** It takes work, now or when it has done what it has. */
  #isAtWork(session: Session): boolean {
    return !session.isRetired && !this.#ending.has(session);
  }

  #end(session: Session, why: Ending): void {
    this.#ending.set(session, why);
    if (session.inFlight === 0) void session.close();
  }

  /** Ends what was idle for long, and looks again when the next one will be. */
  #endIdle(): void {
    this.#timer = undefined;
    const limit = this.#idleTimeoutMs;
    if (limit === Infinity) return;
    while (this.giveBack(limit, "idle"));
    if (this.#open.size < 2) return;
    const now = performance.now();
    let next = limit;
    for (const { inFlight, receivedAt } of this.#open) {
      if (inFlight === 0) next = Math.min(next, receivedAt + limit - now);
    }
    const ms = Math.max(next, minLookMs);
    this.#timer = setTimeout(() => this.#endIdle(), ms);
  }
}
