/** Runs work in the background, a bounded number at a time. */
export class Crowd {
  readonly #most: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  /** Returns when there is room for more. @throws the error of earlier work. */
  async add(work: () => Promise<void>): Promise<void> {
    this.#check();
    const running: Promise<void> = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    while (this.#running.size >= this.#most) await Promise.race(this.#running);
    this.#check();
  }

  /** Returns when all work has ended. @throws the error of any of it. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.#check();
  }

  /** Returns when all work has ended, even if some has failed. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
