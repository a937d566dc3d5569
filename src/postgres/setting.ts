/**
 * Options whose value may change while a store is open. Each is given as a
 * value, or as a function. The store calls the function when it is opened, and
 * at each run of the worker that reads the option, as a node asks the chain.
 *
 * The function's result is checked like the option itself. While the function
 * fails, or returns an invalid value, the last good value holds, and the log
 * reports that once. Only the first result must be good, because there is no
 * earlier value yet.
 */

import { StreamStorageError } from "../storage/errors.ts";
import { unlessAborted } from "../storage/unless_aborted.ts";
import type { Fault } from "./checks.ts";

/** A value, or a function that returns the present one. */
export type Setting<T> = T | (() => T | Promise<T>);

/** A function that returns the value of an option, not checked yet. */
export type SettingSource = () => unknown;

/** How a {@linkcode LiveSetting} is made. */
export interface LiveSettingOptions<T> {
  /** The option's name. */
  option: string;
  /** The value that was checked when the store was opened. */
  value: T;
  /** The function that returned `value`; undefined if a value was given. */
  source: SettingSource | undefined;
  /** Checks what a source returns; throws BAD_CONFIG. */
  parse(value: unknown): T;
  /** Milliseconds that a source may take. */
  timeoutMs: number;
  /** Called for the first failure in a row; must not throw. */
  onRefused(error: StreamStorageError): void;
}

/** The value of one option while a store is open; see the file's head. */
export class LiveSetting<T> {
  readonly #options: LiveSettingOptions<T>;
  #value: T;
  #source: SettingSource | undefined;
  #isRefused = false;
  /** A source is not called again while its last answer is still to come. */
  #pending: { source: SettingSource; answer: Promise<unknown> } | undefined;

  constructor(options: LiveSettingOptions<T>) {
    this.#options = options;
    this.#value = options.value;
    this.#source = options.source;
  }

  /** The last good value. */
  get value(): T {
    return this.#value;
  }

  /**
   * The present value, or the last good one.
   *
   * @throws the signal's reason.
   */
  async ask(signal: AbortSignal): Promise<T> {
    const source = this.#source;
    if (source === undefined) return this.#value;
    try {
      const value = await this.#valueOf(source, signal);
      // The source was replaced meanwhile, and its answer does not count.
      if (source !== this.#source) return this.#value;
      this.#value = value;
      this.#isRefused = false;
    } catch (error) {
      signal.throwIfAborted();
      if (source === this.#source) this.#refuse(error as StreamStorageError);
    }
    return this.#value;
  }

  /**
   * Replaces the value or source by another one, which must be good.
   *
   * @throws {StreamStorageError} BAD_CONFIG; then nothing has changed.
   */
  async replace(given: Setting<unknown>, signal: AbortSignal): Promise<T> {
    const source = sourceOf(given);
    const value = source === undefined
      ? this.#options.parse(given)
      : await this.#valueOf(source, signal);
    this.#source = source;
    this.#value = value;
    this.#isRefused = false;
    return value;
  }

  async #valueOf(source: SettingSource, signal: AbortSignal): Promise<T> {
    const { option, timeoutMs, parse } = this.#options;
    if (this.#pending?.source !== source) {
      const answer = Promise.try(source);
      const pending = { source, answer };
      this.#pending = pending;
      const over = () => {
        if (this.#pending === pending) this.#pending = undefined;
      };
      answer.then(over, over);
    }
    const { answer } = this.#pending!;
    return parse(await answerOf(option, answer, { timeoutMs, signal }));
  }

  #refuse(error: StreamStorageError): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#options.onRefused(error);
  }
}

/** The function, if it is one; undefined otherwise. */
export function sourceOf(given: unknown): SettingSource | undefined {
  return typeof given === "function" ? given as SettingSource : undefined;
}

/**
 * What a source has answered, within `timeoutMs`.
 *
 * @throws {StreamStorageError} BAD_CONFIG, `details.faults` as for a bad value;
 *   the signal's reason.
 */
export async function answerOf(
  option: string,
  answer: Promise<unknown>,
  { timeoutMs, signal }: {
    timeoutMs: number;
    signal?: AbortSignal | undefined;
  },
): Promise<unknown> {
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const either = signal ? AbortSignal.any([signal, late]) : late;
    return await unlessAborted(either, answer);
  } catch (cause) {
    signal?.throwIfAborted();
    const isLate = late.aborted && cause === late.reason;
    const message = isLate
      ? `its function has returned no value within ${timeoutMs} ms`
      : "its function has failed";
    const fault: Fault = { option, message };
    throw new StreamStorageError({
      code: "BAD_CONFIG",
      message: `Option ${option}: ${message}`,
      details: { reason: "setting_failed", faults: [fault] },
      ...(isLate ? {} : { cause }),
    });
  }
}
