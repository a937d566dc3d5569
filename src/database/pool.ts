/**
 * A bounded set of sessions. Work is not tied to a session: it is one flush, so
 * any session can run it, and a session can take the next flush before the last
 * one is answered.
 *
 * Work goes to an idle session. Without one, a new session is opened, up to the
 * limit. At the limit, work is pipelined on the session with the least to do,
 * up to a depth. Beyond that it waits in a queue of bounded length, and is
 * refused if the queue is full.
 *
 * The pool prefers the idle session that has most of a call's statements prepared.
 * A session that becomes free may take one of the next calls instead of the first,
 * if it has prepared that call's statements. So each session gets its own
 * partitions, and most statements are prepared in one session only: all sessions
 * share one bound on the server's memory (prepared_budget.ts).
 *
 * After a connection that failed, broke before it answered anything, or was
 * given up, the next attempt waits for a jittered, growing delay, so that no
 * storm meets a server that comes back. A session that was given up keeps its
 * place until the server has let go of it.
 *
 * If the server accepts fewer sessions than the pools of a store would open, a
 * pool that gets none makes another one give way. If stores share a limit
 * (shared_places.ts), a pool opens a session only if there is a place.
 *
 * Sessions that have been idle for long end, except one.
 */

import type { PoolWatcher } from "../telemetry/store_telemetry.ts";
import { atMost } from "../storage/at_most.ts";
import { Backoff } from "./backoff.ts";
import type { PlaceHolder, SharedPlaces } from "./shared_places.ts";
import { sqlStateOf } from "./failures.ts";
import {
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "./pool_errors.ts";
import { PoolSessions } from "./pool_sessions.ts";
import type { Session } from "./session.ts";
import type { Bound, ResultsOf } from "./statement.ts";
import {
  type PoolUse,
  timeoutOf,
  type WaitingCall,
  WaitingCalls,
} from "./waiting_calls.ts";

export type { PoolUse } from "./waiting_calls.ts";

/** The limits of a pool. */
export interface PoolOptions {
  connect(): Promise<Session>;
  /** The largest number of sessions. */
  max: number;
  /** The largest number of unanswered flushes per session. */
  depth: number;
  /** The largest number of calls that wait for a session. */
  maxWaiting: number;
  /** The longest time that a call waits for a session, in milliseconds. */
  acquireTimeoutMs: number;
  /** Delays between failed connection attempts. */
  reconnect: { minDelayMs: number; maxDelayMs: number };
  /** Makes another pool give way; returns undefined if none can. */
  makeRoom?: () => Promise<void> | undefined;
  /** Milliseconds after which an idle session ends; default: never. */
  idleTimeoutMs?: number;
  /** A limit that other pools share. */
  places?: SharedPlaces | undefined;
  /** Keeps flushes from servers that no longer have the schema. */
  guard?: PoolGuard | undefined;
  /** Watches waits for sessions, and ends of sessions. */
  watcher?: PoolWatcher;
}

/** The guard of every flush on a cluster; see cluster/home.ts. */
export interface PoolGuard {
  /** The statements before the others. */
  before(use: PoolUse): readonly Bound[];
  /** Whether nothing was done, because it was sent to the wrong server. */
  isMoved(error: unknown): Promise<boolean>;
}

/** The present state of a pool. */
export interface PoolState {
  open: number;
  connecting: number;
  idle: number;
  waiting: number;
}

/** Sessions that share work; see the head of this file. */
export class Pool implements PlaceHolder {
  readonly #options: PoolOptions;
  readonly #sessions: PoolSessions;
  readonly #waiting = new WaitingCalls();
  #connecting = 0;
  readonly #backoff: Backoff;
  #isRoomComing = false;
  #closed = false;
  #drained: (() => void) | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.reconnect);
    this.#sessions = new PoolSessions(options.idleTimeoutMs ?? Infinity, {
      answered: (isFirst) => {
        if (isFirst) this.#backoff.succeeded();
        this.#dispatch();
      },
      gone: (why, isBad) => {
        if (!this.#closed) options.watcher?.ended(why);
        if (isBad) this.#holdOff();
        this.#dispatch();
      },
      released: () => {
        // First: a call that waits for a place may have waited for this one.
        options.places?.freed();
        this.#dispatch();
      },
    });
    options.places?.join(this);
  }

  get state(): PoolState {
    return {
      open: this.#sessions.size,
      connecting: this.#connecting,
      idle: this.#sessions.idle,
      waiting: this.#waiting.size,
    };
  }

  /**
   * Runs the statements as one transaction on some session.
   *
   * The signal ends the wait. For a read it also gives up the answer, and the
   * session finishes by itself; a write that was sent is never given up,
   * because its caller would not know whether it was done.
   *
   * After `deadline`, in the time of `performance.now()`, no work begins, and
   * the server ends work that has begun.
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
    return this.#options.guard === undefined
      ? this.#run(bound, use, signal, deadline)
      : this.#runGuarded(this.#options.guard, bound, use, signal, deadline);
  }

  /**
   * Work that is refused because the schema has moved is sent again, on a
   * session to its new home. But a flush of many streams must be composed
   * again: it holds numbers of transactions, which are now another server's.
   */
  async #runGuarded<const B extends readonly Bound[]>(
    guard: PoolGuard,
    ...[bound, use, signal, deadline]: [B, PoolUse, AbortSignal?, number?]
  ): Promise<ResultsOf<B>> {
    for (;;) {
      const first = guard.before(use);
      const all: readonly Bound[] = [...first, ...bound];
      try {
        const results = await this.#run(all, use, signal, deadline);
        return results.slice(first.length) as unknown as ResultsOf<B>;
      } catch (error) {
        if (!await guard.isMoved(error) || use === "shared") throw error;
      }
    }
  }

  #run<const B extends readonly Bound[]>(
    bound: B,
    use: PoolUse,
    signal?: AbortSignal,
    deadline = Infinity,
  ): Promise<ResultsOf<B>> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const since = performance.now();
    if (since >= deadline) return Promise.reject(new PoolTimeoutError(0));
    const session = this.#pick(bound);
    if (session !== undefined && signal === undefined) {
      this.#options.watcher?.acquired(0);
      return session.run(bound, deadline - since);
    }
    return new Promise((resolve, reject) => {
      const settled = () => signal?.removeEventListener("abort", onAbort);
      const waiting: WaitingCall = {
        bound,
        passed: 0,
        since,
        until: Math.min(since + this.#options.acquireTimeoutMs, deadline),
        start: (chosen) => {
          const now = performance.now();
          if (now >= deadline) return waiting.refuse(timeoutOf(since, now));
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
   * Refuses new work, lets running work end for at most `budgetMs`, then breaks
   * the rest.
   */
  async close(budgetMs: number): Promise<void> {
    this.#closed = true;
    this.#backoff.skip();
    const deadline = performance.now() + budgetMs;
    await this.#drain(budgetMs);
    this.#waiting.refuseAll(new PoolClosedError());
    this.#waiting.close();
    await this.#sessions.close(deadline);
    this.#options.places?.leave(this);
  }

  /**
   * Ends a session for the sake of another pool, an idle one if possible;
   * resolves when it has ended. Undefined without a session.
   */
  giveWay(): Promise<void> | undefined {
    return this.#sessions.giveWay();
  }

  /** Gives its sessions, which lead to the wrong server, no more work. */
  leaveServer(): void {
    this.#sessions.endAll("moved");
  }

  /** See {@linkcode PlaceHolder.held}. */
  get held(): number {
    return this.#sessions.size + this.#connecting + this.#sessions.leaving;
  }

  /** See {@linkcode PlaceHolder.ending}. */
  get ending(): number {
    return this.#sessions.ending;
  }

  /** See {@linkcode PlaceHolder.isShort}. */
  get isShort(): boolean {
    const { open, idle } = this.state;
    return this.#waiting.size > 0 || (open > 0 && idle === 0);
  }

  /** See {@linkcode PlaceHolder.takeUp}. */
  takeUp(): void {
    this.#dispatch();
    // Calls that wait behind others on a session would use one more, too.
    if (this.#waiting.size === 0 && this.isShort) this.#connectOneMore();
  }

  /** See {@linkcode PlaceHolder.giveBack}. */
  giveBack(idleMs: number): boolean {
    return this.#sessions.giveBack(idleMs);
  }

  /**
   * The number of sessions that may be opened now. If given-up sessions hold
   * all places, one more is opened to find out whether the server is back.
   */
  #roomNow(): number {
    const { max, places } = this.#options;
    const { size, leaving } = this.#sessions;
    const own = places === undefined ? max : 1;
    if (leaving === own && size + this.#connecting === 0) return 1;
    const room = Math.max(0, max - this.held);
    if (room === 0 || places === undefined) return room;
    const shared = places.roomFor(this);
    if (shared === 0) places.want(this);
    return Math.min(room, shared);
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
    if (this.#sessions.idle === this.#sessions.size) this.#drained();
  }

  #enqueue(waiting: WaitingCall): void {
    if (this.#closed) {
      return waiting.refuse(new PoolClosedError());
    }
    if (this.#waiting.size >= this.#options.maxWaiting) {
      return waiting.refuse(new PoolOverloadError(this.#options.maxWaiting));
    }
    this.#waiting.add(waiting);
    this.#options.watcher?.waits();
    this.#connectIfNeeded();
  }

  /** A session with room, or undefined if the call must wait. */
  #pick(bound: readonly Bound[]): Session | undefined {
    return this.#sessions.idleFor(bound) ?? this.#shortestRow(bound);
  }

  #connectOneMore(): void {
    const isCalm = !this.#backoff.hasFailed && this.#connecting === 0;
    if (isCalm && !this.#closed && this.#roomNow() > 0) void this.#connect();
  }

  #shortestRow(bound: readonly Bound[]): Session | undefined {
    const best = this.#sessions.shortest(bound);
    const isFull = this.#roomNow() === 0;
    if (best === undefined || (!isFull && !this.#closed)) return undefined;
    return best.inFlight < this.#options.depth ? best : undefined;
  }

  #dispatch(): void {
    for (let first; (first = this.#waiting.first) !== undefined;) {
      const session = this.#pick(first.bound);
      if (session === undefined) break;
      this.#waiting.nextFor(session).start(session);
    }
    if (!this.#closed) this.#connectIfNeeded();
    this.#checkDrained();
  }

  #connectIfNeeded(): void {
    if (this.#backoff.isWaiting) return;
    // After a failure, one attempt at a time finds out whether the server is
    // back; the others follow when it is.
    const wanted = this.#backoff.hasFailed
      ? Math.min(1 - this.#connecting, this.#waiting.size)
      : this.#waiting.size - this.#connecting;
    const attempts = Math.min(this.#roomNow(), wanted);
    for (let i = 0; i < attempts; i++) void this.#connect();
  }

  async #connect(): Promise<void> {
    this.#connecting++;
    try {
      const session = await this.#options.connect();
      this.#connecting--;
      if (this.#closed && this.#waiting.size === 0) await session.close();
      else this.#sessions.add(session);
    } catch (error) {
      this.#connecting--;
      this.#options.places?.freed();
      this.#holdOff();
      if (this.#sessions.size === 0) this.#seekRoom(error);
    }
    this.#dispatch();
  }

  /** After a refusal: makes room, or refuses the waiting calls. */
  #seekRoom(error: unknown): void {
    if (this.#isRoomComing) return;
    const isFull = sqlStateOf(error) === "53300"; // too_many_connections
    const room = isFull ? this.#options.makeRoom?.() : undefined;
    if (room === undefined) return this.#waiting.refuseAll(error);
    this.#isRoomComing = true;
    void room.then(() => {
      this.#isRoomComing = false;
      this.#backoff.skip();
      this.#dispatch();
    });
  }

  #holdOff(): void {
    if (!this.#closed) this.#backoff.failed(() => this.#dispatch());
  }
}
