import { setTimeout as sleep } from "node:timers/promises";

/** Limits the bytes read a second, on average over the whole run. */
export class Throttle {
  readonly #bytesPerSecond: number;
  readonly #started = performance.now();
  #bytes = 0;

  constructor(bytesPerSecond = Infinity) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /**
   * Counts bytes that were just read, and waits while the run is ahead of its
   * rate.
   */
  async spend(bytes: number, signal?: AbortSignal): Promise<void> {
    this.#bytes += bytes;
    const dueMs = this.#bytes / this.#bytesPerSecond * 1000;
    const ms = dueMs - (performance.now() - this.#started);
    if (ms > 1) await sleep(ms, undefined, { signal });
  }
}
