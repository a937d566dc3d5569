/** Calls that wait for a pool's session, in order, each with a deadline. */

import { PoolTimeoutError } from "./pool_errors.ts";

/** A kind of work, by its statements; `shared`: writes of many streams. */
export type PoolUse = "read" | "write" | "shared";

/** A waiting call. */
export interface WaitingCall<S> {
  use: PoolUse;
  since: number;
  /** When it is refused, in the time of `performance.now()`. */
  until: number;
  start(session: S): void;
  refuse(error: unknown): void;
}

/** See the head of this file. Calls leave when they start or are refused. */
export class WaitingCalls<S> {
  readonly #calls = new Set<WaitingCall<S>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;

  get size(): number {
    return this.#calls.size;
  }

  [Symbol.iterator](): Iterator<WaitingCall<S>> {
    return this.#calls[Symbol.iterator]();
  }

  add(call: WaitingCall<S>): void {
    this.#calls.add(call);
    this.#watch(call.until);
  }

  delete(call: WaitingCall<S>): void {
    this.#calls.delete(call);
  }

  refuseAll(error: unknown): void {
    for (const call of this.#calls) call.refuse(error);
  }

  /** Lets no more calls wait. */
  close(): void {
    clearTimeout(this.#timer);
  }

  /** Sets one timer for all calls, for the first deadline. */
  #watch(due: number): void {
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(
      () => this.#refuseLate(),
      // Deadlines that are almost equal are handled together.
      Math.max(5, due - performance.now()),
    );
  }

  #refuseLate(): void {
    this.#due = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const call of this.#calls) {
      if (call.until > now) next = Math.min(next, call.until);
      else call.refuse(timeoutOf(call.since, now));
    }
    if (next < Infinity) this.#watch(next);
  }
}

/** The error of a call that got no session between these times. */
export function timeoutOf(since: number, now: number): PoolTimeoutError {
  return new PoolTimeoutError(Math.round(now - since));
}
