import { setImmediate } from "node:timers/promises";

/** How long, in milliseconds, work may block the event loop. */
const sliceMs = 10;

/**
 * Cuts long work into slices: work that grows with a caller's data, or with
 * what is stored, must not block the process for its whole duration.
 *
 * ```ts
 * const slices = new Slices();
 * for (const block of blocks) {
 *   if (slices.isOver) await slices.next();
 *   …
 * }
 * ```
 */
export class Slices {
  readonly #ms: number;
  #since = performance.now();
  #looks = 0;

  constructor(ms = sliceMs) {
    this.#ms = ms;
  }

  /** Whether it is time to pause; reads the clock only now and then. */
  get isOver(): boolean {
    return (++this.#looks & 0x3f) === 0 &&
      performance.now() - this.#since > this.#ms;
  }

  /** Lets all other work have its turn. */
  async next(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
  }
}
