/** The value of an option that a test changes while a store is open. */
export interface Settable<T> {
  /** The present value: this is what the store calls. */
  (): T;
  /** How often the store asked for the value. */
  readonly asked: number;
  /** Sets the value from now on. */
  set(value: T): void;
  /** Makes every later request fail with this error, until a value is set. */
  fail(error: unknown): void;
}

/**
 * A function for an option that workers ask for at each run; a test sets its
 * value.
 *
 * @example Uploads expire sooner.
 * ```ts
 * import {
 *   createTestStreamStorage,
 *   settable,
 * } from "@towns/stream-storage/testing";
 *
 * const ephemeralTtlMs = settable(600_000);
 * await using test = await createTestStreamStorage({ url, ephemeralTtlMs });
 *
 * ephemeralTtlMs.set(1000);
 * const { removed } = await test.storage.maintenance.sweepEphemeralStreams();
 * console.log(removed); // 0
 * ```
 */
export function settable<T>(value: T): Settable<T> {
  let asked = 0;
  let answer = (): T => value;
  const ask = () => {
    asked++;
    return answer();
  };
  return Object.defineProperty(
    Object.assign(ask, {
      set: (next: T) => {
        answer = () => next;
      },
      fail: (error: unknown) => {
        answer = () => {
          throw error;
        };
      },
    }),
    "asked",
    { get: () => asked },
  ) as Settable<T>;
}
