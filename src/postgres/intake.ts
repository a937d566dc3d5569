/**
 * Lets calls in, however many come at once.
 *
 * It takes a few microseconds to run a call up to the point where it waits.
 * Forty thousand calls in one turn of the event loop stopped the loop for a
 * quarter of a second: no timer fired, and no other call got its answer. So
 * only the first calls of a turn run at once, which are all of them except in
 * such a burst. The other calls wait in the order in which they came, and some
 * of them run in each turn.
 */

import { setImmediate } from "node:timers";

/** Calls of one turn that run at once. */
const maxAtOnce = 1024;
/** Waiting calls that run in one turn, which takes a few milliseconds. */
const maxPerTurn = 512;

/** Calls that run together, in the order in which they came. */
interface Group extends PromiseWithResolvers<void> {
  size: number;
}

/** See the file's head. */
export class Intake {
  /** Calls since the last reset, which a turn's end does if it is high. */
  #count = 0;
  #waiting: Group[] = [];

  /** Runs the call, now or after the calls that wait. */
  pass<T>(call: () => Promise<T>): Promise<T> {
    if (++this.#count <= maxAtOnce) {
      // Done so rarely that it costs nothing.
      if (this.#count === maxPerTurn) setImmediate(() => this.#turn());
      return call();
    }
    // One promise for all calls that run together: a promise and two functions
    // for each call cost a burst twice the processor time.
    return this.#lastGroup().promise.then(call);
  }

  #lastGroup(): Group {
    let last = this.#waiting.at(-1);
    if (last === undefined || last.size === maxPerTurn) {
      last = { ...Promise.withResolvers<void>(), size: 0 };
      this.#waiting.push(last);
    }
    last.size++;
    return last;
  }

  /** Starts the next group, at the end of a turn. */
  #turn(): void {
    const group = this.#waiting.shift();
    if (group === undefined) return this.#rest();
    // Runs after the calls of the group. A call made before they have all
    // started must wait, or it would overtake some of them.
    void group.promise.then(() => this.#rest());
    group.resolve();
  }

  #rest(): void {
    if (this.#waiting.length === 0) this.#count = 0;
    else setImmediate(() => this.#turn());
  }
}
