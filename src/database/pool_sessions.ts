/**
 * The sessions of a pool: which of them gets the next work, and which one ends.
 *
 *     open ──▶ ending ──▶ gone for us ──▶ gone for the server
 *       └──────────────────▲
 *
 * An ending session gets no more work, and finishes what it has. A session that
 * is gone for us may still work on the server, and keeps its place until the
 * server lets go.
 */

import type { ConnectionEnd } from "../telemetry/known_names.ts";
import type { Session } from "./session.ts";
import type { Bound } from "./statement.ts";

/** What a pool learns about its sessions. */
export interface PoolSessionEvents {
  /** A session has answered, for the first time or again, and may have room. */
  answered(isFirst: boolean): void;
  /**
   * A session has ended, for this reason; badly, if connecting again at once
   * would be unwise.
   */
  gone(why: ConnectionEnd, isBad: boolean): void;
  /** The server has let go of a session, too. */
  released(): void;
}

/** Why the pool ends a session. */
type Ending = Exclude<ConnectionEnd, "lost">;

/** The least time for orderly ends, however little is left of the budget. */
const goodbyeMs = 500;

/** The shortest time between two searches for idle sessions. */
const minLookMs = 10;

/** See the head of this file. */
export class PoolSessions {
  readonly #events: PoolSessionEvents;
  readonly #idleTimeoutMs: number;
  readonly #open = new Set<Session>();
  readonly #leaving = new Set<Session>();
  readonly #ending = new Map<Session, Ending>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Sessions that have been idle for this long end, except one. */
  constructor(idleTimeoutMs: number, events: PoolSessionEvents) {
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#events = events;
  }

  /** Sessions that are not gone for us. */
  get size(): number {
    return this.#open.size;
  }

  /** Sessions that are gone for us, but not yet for the server. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /** Open sessions that get no more work. */
  get ending(): number {
    return this.#ending.size;
  }

  /** Sessions with nothing to do. */
  get idle(): number {
    let idle = 0;
    for (const session of this.#open) if (session.inFlight === 0) idle++;
    return idle;
  }

  /** An idle session, the one where most of the statements are prepared. */
  idleFor(bound: readonly Bound[]): Session | undefined {
    let best: Session | undefined;
    let most = -1;
    for (const session of this.#open) {
      if (session.inFlight > 0 || !this.#isAtWork(session)) continue;
      const prepared = session.preparedOf(bound);
      if (prepared === bound.length) return session;
      if (prepared > most) [best, most] = [session, prepared];
    }
    return best;
  }

  /** The one with the least to do, best where most of this is prepared. */
  shortest(bound: readonly Bound[] = []): Session | undefined {
    let best: Session | undefined;
    let most = -1;
    for (const session of this.#open) {
      if (!this.#isAtWork(session)) continue;
      const { inFlight } = session;
      const least = best?.inFlight ?? Infinity;
      if (inFlight > least) continue;
      const prepared = session.preparedOf(bound);
      if (inFlight === least && prepared <= most) continue;
      [best, most] = [session, prepared];
    }
    return best;
  }

  /** Adds a new session. */
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

  /** Ends the session with the least to do; resolves when it has ended. */
  giveWay(): Promise<void> | undefined {
    const session = this.shortest();
    if (session !== undefined) this.#end(session, "refused");
    return session?.closed;
  }

  /**
   * Ends a session that has been idle for this long, or for 0 also a busy one,
   * but never the last one. Returns whether it ended one.
   */
  giveBack(idleMs: number, why: Ending = "spare"): boolean {
    const atWork = [...this.#open].filter((each) => this.#isAtWork(each));
    if (atWork.length < 2) return false;
    const since = performance.now() - idleMs;
    // The search starts at the end, because work goes to the first ones.
    const spare = atWork.findLast(({ inFlight, receivedAt }) =>
      idleMs === 0 || (inFlight === 0 && receivedAt <= since)
    );
    if (spare !== undefined) this.#end(spare, why);
    return spare !== undefined;
  }

  /** Gives no session more work; each finishes what it has. */
  endAll(why: Ending): void {
    for (const session of this.#open) {
      if (this.#isAtWork(session)) this.#end(session, why);
    }
  }

  /** Breaks sessions that are busy, and lets the others end until then. */
  async close(deadline: number): Promise<void> {
    clearTimeout(this.#timer);
    const sessions = [...this.#open, ...this.#leaving];
    for (const session of sessions) {
      if (session.inFlight > 0) session.giveUp("Closed before the answer came");
    }
    // A server that is gone never confirms the end.
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

  /** Whether it takes work, now or after its present work. */
  #isAtWork(session: Session): boolean {
    return !session.isRetired && !this.#ending.has(session);
  }

  #end(session: Session, why: Ending): void {
    this.#ending.set(session, why);
    if (session.inFlight === 0) void session.close();
  }

  /** Ends sessions that were idle for long, and plans the next search. */
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
