import type { ResolvedTrimming } from "../postgres/trimming_options.ts";

/**
 * Trimming rules, for as long as they are in force. A look takes the rules when
 * it begins and plans by them; each step first checks that they still hold.
 */
export class Ruling {
  readonly trimming: ResolvedTrimming;
  #isOver = false;
  readonly #steps = new Set<Promise<unknown>>();

  constructor(trimming: ResolvedTrimming) {
    this.trimming = trimming;
  }

  /** Runs a step; returns undefined if other rules are in force by now. */
  readonly step = async <T>(body: () => Promise<T>): Promise<T | undefined> => {
    if (this.#isOver) return undefined;
    const step = body();
    this.#steps.add(step);
    try {
      return await step;
    } finally {
      this.#steps.delete(step);
    }
  };

  /** Lets no further step begin; resolves when the running ones have ended. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#steps);
  }
}
