import { setTimeout as delay } from "node:timers/promises";

/** How often to ask again. */
const pollMs = 50;

/**
 * Asks until the answer is neither false nor undefined. A failure counts as no
 * answer, because the program may be starting, or dead.
 *
 * @throws {Error} the time is over.
 */
export async function until<T>(
  what: string,
  limitMs: number,
  ask: () => Promise<T | false | undefined>,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== false && answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what} within ${limitMs / 1000} s`, { cause: last });
    }
    await delay(pollMs);
  }
}

/** Waits for the work; fails after the given time. */
export async function within<T>(
  what: string,
  limitMs: number,
  work: Promise<T>,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`${what} within ${limitMs / 1000} s`)),
    limitMs,
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
