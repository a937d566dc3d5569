import { setTimeout as sleep } from "node:timers/promises";

/** Keeps what is read below so many bytes a second, over the whole run. */
export class Throttle {
  readonly #bytesPerSecond: number;
  readonly #started = performance.now();
  #bytes = 0;

  constructor(bytesPerSecond = Infinity) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Waits as long as these bytes, just read, are ahead of the rate. */
  async spend(bytes: number, signal?: AbortSignal): Promise<void> {
    this.#bytes += bytes;
    const dueMs = this.#bytes / this.#bytesPerSecond * 1000;
    const ms = dueMs - (performance.now() - this.#started);
    if (ms > 1) await sleep(ms, undefined, { signal });
  }
}
