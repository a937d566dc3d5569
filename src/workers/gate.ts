interface Waiting {
  enter(): void;
}

/** Admits a limited number at a time, the others in the order of arrival. */
export class Gate {
  readonly #places: number;
  #inside = 0;
  readonly #waiting = new Set<Waiting>();

  constructor(places: number) {
    this.#places = places;
  }

  /**
   * Runs the body inside. The signal only ends the wait to enter.
   *
   * @throws the signal's reason, or what the body throws.
   */
  async pass<T>(signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await body();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#inside < this.#places) {
      this.#inside++;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { enter: resolve };
    const onAbort = () => {
      if (this.#waiting.delete(waiting)) reject(signal.reason);
    };
    this.#waiting.add(waiting);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Passes the place to the one that has waited longest. */
  #leave(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      return next.enter();
    }
    this.#inside--;
  }
}
