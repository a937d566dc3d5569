/**
 * A bounded set of sessions. Work is not tied to a session: it is one flush,
 * so any session can take it, and a session can take the next before the
 * last was answered.
 *
 * Work goes to an idle session; without one a new session is opened up to the
 * limit; at the limit it is pipelined behind the shortest row, up to a depth;
 * beyond that it waits in a queue of bounded length, then is refused.
 *
 * Of the idle sessions that one is taken which did the same kind of work last:
 * there its statements are prepared. Were all kinds done everywhere, each
 * session would keep the statements of all of them for every partition, more
 * than it may hold, and parse some anew at every call.
 *
 * After a connection that failed, broke before it answered anything, or was
 * given up, the next attempt waits for a jittered, growing delay, so that a
 * server that comes back is not met by a storm. A session that was given up
 * keeps its place until the server has let go of it.
 *
 * Where the server takes fewer sessions than the pools of a store would open, a
 * pool that gets none has another one give way.
 */

import type { PoolWaits } from "../telemetry/store_telemetry.ts";
import { atMost } from "../storage/at_most.ts";
import { Backoff } from "./backoff.ts";
import { sqlStateOf } from "./failures.ts";
import {
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "./pool_errors.ts";
import type { Session } from "./session.ts";
import type { Bound, ResultsOf } from "./statement.ts";

/** How a pool is bounded. */
export interface PoolOptions {
  connect(): Promise<Session>;
  /** Sessions at most. */
  max: number;
  /** Unanswered flushes per session at most. */
  depth: number;
  /** Calls that wait for a session at most. */
  maxWaiting: number;
  /** Milliseconds that a call waits for a session at most. */
  acquireTimeoutMs: number;
  /** Delays between failed connection attempts. */
  reconnect: { minDelayMs: number; maxDelayMs: number };
  /** Has another pool give way; undefined if there is none that can. */
  makeRoom?: () => Promise<void> | undefined;
  /** Hears how the waiting for a session ends. */
  watcher?: PoolWaits;
}

/** A kind of work, by its statements: `shared` for writes of many streams. */
export type PoolUse = "read" | "write" | "shared";

/** What a pool does at the moment. */
export interface PoolState {
  open: number;
  connecting: number;
  idle: number;
  waiting: number;
}

/** For the goodbyes, however little is left of the budget. */
const goodbyeMs = 500;

interface Waiting {
  use: PoolUse;
  since: number;
  /** When it is refused, in the time of `performance.now()`. */
  until: number;
  start(session: Session): void;
  refuse(error: unknown): void;
}

/** Sessions that share work; see the file's head. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #sessions = new Set<Session>();
  /** What each session did last. */
  readonly #uses = new WeakMap<Session, PoolUse>();
  readonly #waiting = new Set<Waiting>();
  /** Sessions that are gone for us, and not yet for the server. */
  readonly #leaving = new Set<Session>();
  /** Sessions that end with what is under way, for another pool. */
  readonly #giving = new Set<Session>();
  #connecting = 0;
  readonly #backoff: Backoff;
  #waitingTimer: ReturnType<typeof setTimeout> | undefined;
  #waitingDue = Infinity;
  #isRoomComing = false;
  #closed = false;
  #drained: (() => void) | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.reconnect);
  }

  get state(): PoolState {
    let idle = 0;
    for (const session of this.#sessions) if (session.inFlight === 0) idle++;
    return {
      open: this.#sessions.size,
      connecting: this.#connecting,
      idle,
      waiting: this.#waiting.size,
    };
  }

  /**
   * Runs the statements as one transaction on some session.
   *
   * The signal ends the waiting. For a read it also gives up the answer, and
   * the session finishes by itself; a write that was sent is never given up,
   * its caller would not know what became of it.
   *
   * After `deadline`, in the time of `performance.now()`, the work is not begun
   * any more, and what was begun is ended by the server.
   *
   * @throws {PgError | ConnectionLostError | PoolOverloadError |
   *   PoolTimeoutError} or the signal's reason.
   */
  run<const B extends readonly Bound[]>(
    bound: B,
    use: PoolUse,
    signal?: AbortSignal,
    deadline = Infinity,
  ): Promise<ResultsOf<B>> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const since = performance.now();
    if (since >= deadline) return Promise.reject(new PoolTimeoutError(0));
    const session = this.#pick(use);
    if (session !== undefined && signal === undefined) {
      this.#options.watcher?.acquired(0);
      return session.run(bound, deadline - since);
    }
    return new Promise((resolve, reject) => {
      const settled = () => signal?.removeEventListener("abort", onAbort);
      const waiting: Waiting = {
        use,
        since,
        until: Math.min(since + this.#options.acquireTimeoutMs, deadline),
        start: (chosen) => {
          const now = performance.now();
          if (now >= deadline) return waiting.refuse(timeout(since, now));
          this.#waiting.delete(waiting);
          this.#options.watcher?.acquired(now - since);
          if (use !== "read") settled();
          chosen.run(bound, deadline - now).then(resolve, reject)
            .finally(settled);
        },
        refuse: (error) => {
          this.#waiting.delete(waiting);
          if (error instanceof PoolTimeoutError) {
            this.#options.watcher?.timedOut();
          }
          settled();
          reject(error);
        },
      };
      const onAbort = () => waiting.refuse(signal!.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      if (session !== undefined) waiting.start(session);
      else this.#enqueue(waiting);
    });
  }

  /**
   * Refuses new work, lets what is under way end for at most `budgetMs`, then
   * breaks what is left.
   */
  async close(budgetMs: number): Promise<void> {
    this.#closed = true;
    this.#backoff.skip();
    const deadline = performance.now() + budgetMs;
    await this.#drain(budgetMs);
    this.#refuseAll(new PoolClosedError());
    clearTimeout(this.#waitingTimer);
    const sessions = [...this.#sessions, ...this.#leaving];
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
  }

  /**
   * Ends a session for the sake of another pool, an idle one if there is any;
   * fulfilled when it has ended. Undefined without a session.
   */
  giveWay(): Promise<void> | undefined {
    let given: Session | undefined;
    for (const session of this.#sessions) {
      if (!this.#isAtWork(session)) continue;
      if (session.inFlight < (given?.inFlight ?? Infinity)) given = session;
    }
    if (given === undefined) return undefined;
    this.#giving.add(given);
    if (given.inFlight === 0) void given.close();
    return given.closed;
  }

  /** It takes work, now or when it has done what it has. */
  #isAtWork(session: Session): boolean {
    return !session.isRetired && !this.#giving.has(session);
  }

  /**
   * Sessions that may be opened now. When all places are taken by sessions that
   * were given up, one more finds out whether the server is back.
   */
  get #room(): number {
    const { max } = this.#options;
    const taken = this.#sessions.size + this.#connecting;
    const room = max - taken - this.#leaving.size;
    return room === 0 && taken === 0 ? 1 : Math.max(0, room);
  }

  #drain(budgetMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    this.#checkDrained();
    return atMost(budgetMs, promise);
  }

  #checkDrained(): void {
    if (this.#drained === undefined || this.#connecting > 0) return;
    if (this.#waiting.size > 0 && this.#sessions.size > 0) return;
    for (const session of this.#sessions) if (session.inFlight > 0) return;
    this.#drained();
  }

  #enqueue(waiting: Waiting): void {
    if (this.#closed) {
      return waiting.refuse(new PoolClosedError());
    }
    if (this.#waiting.size >= this.#options.maxWaiting) {
      return waiting.refuse(new PoolOverloadError(this.#options.maxWaiting));
    }
    this.#waiting.add(waiting);
    this.#watchWaiting(waiting.until);
    this.#connectIfNeeded();
  }

  /** One timer for the whole queue, set to what is due first. */
  #watchWaiting(due: number): void {
    if (due >= this.#waitingDue) return;
    clearTimeout(this.#waitingTimer);
    this.#waitingDue = due;
    this.#waitingTimer = setTimeout(
      () => this.#refuseLate(),
      // What is due at almost the same time goes at once.
      Math.max(5, due - performance.now()),
    );
  }

  #refuseLate(): void {
    this.#waitingDue = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const waiting of this.#waiting) {
      if (waiting.until > now) next = Math.min(next, waiting.until);
      else waiting.refuse(timeout(waiting.since, now));
    }
    if (next < Infinity) this.#watchWaiting(next);
  }

  /** A session with room, or undefined when the caller should wait. */
  #pick(use: PoolUse): Session | undefined {
    const session = this.#idleFor(use) ?? this.#shortestRow();
    if (session !== undefined) this.#uses.set(session, use);
    return session;
  }

  /** An idle session: of the same use, else of none yet, else any. */
  #idleFor(use: PoolUse): Session | undefined {
    let unused: Session | undefined;
    let other: Session | undefined;
    for (const session of this.#sessions) {
      if (session.inFlight > 0 || !this.#isAtWork(session)) continue;
      const last = this.#uses.get(session);
      if (last === use) return session;
      if (last === undefined) unused ??= session;
      else other ??= session;
    }
    if (unused === undefined && other !== undefined) this.#connectOneMore();
    return unused ?? other;
  }

  /** The next of this use need not take a session of another one. */
  #connectOneMore(): void {
    const isCalm = !this.#backoff.hasFailed && this.#connecting === 0;
    if (isCalm && !this.#closed && this.#room > 0) void this.#connect();
  }

  #shortestRow(): Session | undefined {
    let best: Session | undefined;
    for (const session of this.#sessions) {
      if (!this.#isAtWork(session)) continue;
      if (session.inFlight < (best?.inFlight ?? Infinity)) best = session;
    }
    const isFull = this.#room === 0;
    if (best === undefined || (!isFull && !this.#closed)) return undefined;
    return best.inFlight < this.#options.depth ? best : undefined;
  }

  #dispatch(): void {
    for (const waiting of this.#waiting) {
      const session = this.#pick(waiting.use);
      if (session === undefined) break;
      waiting.start(session);
    }
    if (!this.#closed) this.#connectIfNeeded();
    this.#checkDrained();
  }

  #connectIfNeeded(): void {
    if (this.#backoff.isWaiting) return;
    // After a failure one attempt at a time finds out whether the server is
    // back; the others follow when it is.
    const wanted = this.#backoff.hasFailed
      ? Math.min(1 - this.#connecting, this.#waiting.size)
      : this.#waiting.size - this.#connecting;
    const attempts = Math.min(this.#room, wanted);
    for (let i = 0; i < attempts; i++) void this.#connect();
  }

  async #connect(): Promise<void> {
    this.#connecting++;
    try {
      const session = await this.#options.connect();
      this.#connecting--;
      if (this.#closed && this.#waiting.size === 0) await session.close();
      else this.#adopt(session);
    } catch (error) {
      this.#connecting--;
      this.#holdOff();
      if (this.#sessions.size === 0) this.#seekRoom(error);
    }
    this.#dispatch();
  }

  /** Refused: there will be room in a moment, or who waits is told. */
  #seekRoom(error: unknown): void {
    if (this.#isRoomComing) return;
    const isFull = sqlStateOf(error) === "53300"; // too_many_connections
    const room = isFull ? this.#options.makeRoom?.() : undefined;
    if (room === undefined) return this.#refuseAll(error);
    this.#isRoomComing = true;
    void room.then(() => {
      this.#isRoomComing = false;
      this.#backoff.skip();
      this.#dispatch();
    });
  }

  #adopt(session: Session): void {
    this.#sessions.add(session);
    let hasAnswered = false;
    session.onIdle(() => {
      if (!hasAnswered) this.#backoff.succeeded();
      hasAnswered = true;
      const isGiven = this.#giving.has(session) && session.inFlight === 0;
      if (isGiven) void session.close();
      this.#dispatch();
    });
    void session.closed.then(() => {
      this.#sessions.delete(session);
      this.#leaving.add(session);
      const isGiven = this.#giving.delete(session);
      if (!hasAnswered || session.isGivenUp || isGiven) this.#holdOff();
      this.#dispatch();
    });
    void session.released.then(() => {
      this.#leaving.delete(session);
      this.#dispatch();
    });
  }

  #holdOff(): void {
    if (!this.#closed) this.#backoff.failed(() => this.#dispatch());
  }

  #refuseAll(error: unknown): void {
    for (const waiting of this.#waiting) waiting.refuse(error);
  }
}

function timeout(since: number, now: number): PoolTimeoutError {
  return new PoolTimeoutError(Math.round(now - since));
}
