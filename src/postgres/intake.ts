/**
 * Lets calls in, however many come at once.
 *
 * To take a call up to the point where it waits is a few microseconds' work.
 * Forty thousand in one turn of the event loop stopped it for a quarter of a
 * second: no timer fired, no other call got its answer. So only the first ones
 * of a turn go on at once, which are all but in such a burst. The others wait in
 * the order in which they came, and some go on in each turn.
 */

import { setImmediate } from "node:timers";

/** Calls of one turn that go on at once. */
const maxAtOnce = 1024;
/** So many of those that wait go on in a turn: a few milliseconds' work. */
const maxPerTurn = 512;

/** See the file's head. */
export class Intake {
  /** Since the count was set back; a turn's end does so, if it is high. */
  #count = 0;
  #waiting: (() => void)[] = [];
  #next = 0;

  /** Runs the call, now or after those that wait. */
  pass<T>(call: () => Promise<T>): Promise<T> {
    if (++this.#count <= maxAtOnce) {
      // Seldom enough to cost nothing.
      if (this.#count === maxPerTurn) setImmediate(() => this.#turn());
      return call();
    }
    return new Promise((resolve) =>
      void this.#waiting.push(() => resolve(call()))
    );
  }

  /** A turn is over. While some wait, those that come wait behind them. */
  #turn(): void {
    const end = Math.min(this.#next + maxPerTurn, this.#waiting.length);
    while (this.#next < end) this.#waiting[this.#next++]!();
    if (this.#next < this.#waiting.length) {
      setImmediate(() => this.#turn());
      return;
    }
    this.#waiting = [];
    this.#next = 0;
    this.#count = 0;
  }
}
