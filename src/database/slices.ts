import { setImmediate } from "node:timers/promises";

/** Milliseconds for which work may keep the event loop from everything else. */
const sliceMs = 10;

/**
 * Cuts long work into slices: whatever grows with what a caller hands over, or
 * with what is stored, must not stop the process for as long as it takes.
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

  /** Whether it is time for others; looks at the clock now and then only. */
  get isOver(): boolean {
    return (++this.#looks & 0x3f) === 0 &&
      performance.now() - this.#since > this.#ms;
  }

  /** Lets everything else have its turn. */
  async next(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
  }
}
