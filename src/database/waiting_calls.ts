/** Calls that wait for a pool's session, in order, each with a deadline. */

import { PoolTimeoutError } from "./pool_errors.ts";
import type { Session } from "./session.ts";
import type { Bound } from "./statement.ts";

/** A kind of work; `shared`: writes of many streams. */
export type PoolUse = "read" | "write" | "shared";

/** A waiting call. */
export interface WaitingCall {
  bound: readonly Bound[];
  since: number;
  /** When it is refused, in the time of `performance.now()`. */
  until: number;
  /** How many later calls have started before it. */
  passed: number;
  start(session: Session): void;
  refuse(error: unknown): void;
}

/** How many later calls may start before an earlier one. */
const maxPassed = 8;

function isPrepared({ bound }: WaitingCall, session: Session): boolean {
  return session.preparedOf(bound) === bound.length;
}

/** See the head of this file. Calls leave when they start or are refused. */
export class WaitingCalls {
  readonly #calls = new Set<WaitingCall>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;

  get size(): number {
    return this.#calls.size;
  }

  /** The call that has waited longest. */
  get first(): WaitingCall | undefined {
    for (const call of this.#calls) return call;
    return undefined;
  }

  /**
   * Returns the first call, or one of the next few if the session has prepared its
   * statements and not those of the first. The first is passed over a few times at
   * most.
   */
  nextFor(session: Session): WaitingCall {
    const first = this.first!;
    if (isPrepared(first, session) || first.passed >= maxPassed) return first;
    let looked = 0;
    for (const call of this.#calls) {
      if (looked++ > maxPassed) break;
      if (!isPrepared(call, session)) continue;
      first.passed++;
      return call;
    }
    return first;
  }

  add(call: WaitingCall): void {
    this.#calls.add(call);
    this.#watch(call.until);
  }

  delete(call: WaitingCall): void {
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
