/** Jittered, growing delays between attempts that fail. */
export class Backoff {
  readonly #delays: { minDelayMs: number; maxDelayMs: number };
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(delays: { minDelayMs: number; maxDelayMs: number }) {
    this.#delays = delays;
  }

  /** The last attempt has failed. */
  get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** The next attempt has to wait. */
  get isWaiting(): boolean {
    return this.#timer !== undefined;
  }

  /** An attempt has failed; calls back when the next one may be made. */
  failed(onOver: () => void): void {
    // Attempts that were made together fail together.
    if (this.isWaiting) return;
    this.#failures++;
    const { minDelayMs, maxDelayMs } = this.#delays;
    const ceiling = Math.min(maxDelayMs, minDelayMs * 2 ** this.#failures);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      onOver();
    }, ceiling / 2 + Math.random() * ceiling / 2);
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** The next attempt need not wait. */
  skip(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
