import { setImmediate } from "node:timers/promises";
import type { Clock } from "../../src/workers/clock.ts";

interface Timer {
  due: number;
  callback(): void;
}

/** A clock that moves only when a test says so; its random number is 0.5. */
export class TestClock implements Clock {
  #now = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  random(): number {
    return 0.5;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { due: this.#now + milliseconds, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Milliseconds until each timer is due, ascending. */
  get timers(): number[] {
    return Array.from(this.#timers, ({ due }) => due - this.#now)
      .sort((a, b) => a - b);
  }

  /** Lets time pass, timer by timer; what a timer starts settles before the next. */
  async pass(milliseconds: number): Promise<void> {
    const until = this.#now + milliseconds;
    for (;;) {
      await setImmediate();
      const [next] = [...this.#timers].sort((a, b) => a.due - b.due);
      if (next === undefined || next.due > until) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.due);
      next.callback();
    }
    this.#now = until;
    await setImmediate();
  }
}
