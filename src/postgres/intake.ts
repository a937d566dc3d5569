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

/** Calls that go on together, in the order in which they came. */
interface Group extends PromiseWithResolvers<void> {
  size: number;
}

/** See the file's head. */
export class Intake {
  /** Since the count was set back; a turn's end does so, if it is high. */
  #count = 0;
  #waiting: Group[] = [];

  /** Runs the call, now or after those that wait. */
  pass<T>(call: () => Promise<T>): Promise<T> {
    if (++this.#count <= maxAtOnce) {
      // Seldom enough to cost nothing.
      if (this.#count === maxPerTurn) setImmediate(() => this.#turn());
      return call();
    }
    // One promise for all that go on together: a promise and two functions for
    // each call cost a burst twice the processor time.
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

  /** A turn is over: the next group goes on. */
  #turn(): void {
    const group = this.#waiting.shift();
    if (group === undefined) return this.#rest();
    // Behind the calls of the group. A call that is made before they have all gone
    // on has to wait, or it would overtake some of them.
    void group.promise.then(() => this.#rest());
    group.resolve();
  }

  #rest(): void {
    if (this.#waiting.length === 0) this.#count = 0;
    else setImmediate(() => this.#turn());
  }
}
