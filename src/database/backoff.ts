/** Jittered, growing delays between failing attempts. */
export class Backoff {
  readonly #delays: { minDelayMs: number; maxDelayMs: number };
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(delays: { minDelayMs: number; maxDelayMs: number }) {
    this.#delays = delays;
  }

  /** Whether the last attempt has failed. */
  get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** Whether the next attempt must wait. */
  get isWaiting(): boolean {
    return this.#timer !== undefined;
  }

  /** Called after a failed attempt; calls back when the next one may start. */
  failed(onOver: () => void): void {
    // Attempts that were made together fail together; they count once.
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

  /** Lets the next attempt start at once. */
  skip(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
