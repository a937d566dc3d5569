import type { ResolvedTrimming } from "../postgres/trimming_options.ts";

/**
 * Rules for as long as they rule. A look takes them when it begins and plans by
 * them; each step that it takes asks whether they still do.
 */
export class Ruling {
  readonly trimming: ResolvedTrimming;
  #isOver = false;
  readonly #steps = new Set<Promise<unknown>>();

  constructor(trimming: ResolvedTrimming) {
    this.trimming = trimming;
  }

  /** Takes a step; undefined: other rules hold by now. */
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

  /** No step begins from here on; resolves when those under way have ended. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#steps);
  }
}
