/**
 * Options whose value may change while a store is open. Each is given as a value,
 * or as a function that is asked when the store is opened and at each run of the
 * worker that reads it, as a node asks the chain.
 *
 * What a function gives is checked like the option itself. While it fails, or
 * gives what can't be taken, the last good value holds, and the log says so once.
 * Only the first answer must be good: an opening has nothing to fall back on.
 */

import { StreamStorageError } from "../storage/errors.ts";
import { unlessAborted } from "../storage/unless_aborted.ts";
import type { Fault } from "./checks.ts";

/** A value, or a function that gives the present one. */
export type Setting<T> = T | (() => T | Promise<T>);

/** A function that gives the value of an option, before it is checked. */
export type SettingSource = () => unknown;

/** How a {@linkcode LiveSetting} is made. */
export interface LiveSettingOptions<T> {
  /** The option's name. */
  option: string;
  /** The value that was checked when the store was opened. */
  value: T;
  /** What gave it; undefined: it was given as a value. */
  source: SettingSource | undefined;
  /** Checks what a source gives; throws BAD_CONFIG. */
  parse(value: unknown): T;
  /** Milliseconds that a source may take. */
  timeoutMs: number;
  /** Hears of the first failure in a row; must not throw. */
  onRefused(error: StreamStorageError): void;
}

/** The value of one option while a store is open; see the file's head. */
export class LiveSetting<T> {
  readonly #options: LiveSettingOptions<T>;
  #value: T;
  #source: SettingSource | undefined;
  #isRefused = false;
  /** An answer that has not come yet is not asked for once more. */
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
      // Replaced meanwhile, by what holds now.
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
   * Takes another value or source instead, which must be good.
   *
   * @throws {StreamStorageError} BAD_CONFIG, and all is as it was.
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

/** The function, if it is one. */
export function sourceOf(given: unknown): SettingSource | undefined {
  return typeof given === "function" ? given as SettingSource : undefined;
}

/**
 * What a source has answered, within bounds.
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
      ? `its function has given no value for ${timeoutMs} ms`
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
