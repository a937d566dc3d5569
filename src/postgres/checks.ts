/**
 * Checks of options, composed of small ones. Each takes a value of any type and
 * returns the value to use, with defaults filled in, or notes a fault. All
 * faults are reported at once, and no value is ever shown.
 *
 * A library for this takes longer to load, and to describe the options to, than
 * all that a store does until it is open.
 */

import { printable } from "../storage/foreign_text.ts";

/** What is wrong with an option. */
export interface Fault {
  option: string;
  message: string;
}

/** The path of a value, and the faults found so far. */
export class Place {
  readonly #path: readonly string[];
  readonly #faults: Fault[];

  /** Without a path: the options as a whole. */
  constructor(path: readonly string[] = [], faults: Fault[] = []) {
    this.#path = path;
    this.#faults = faults;
  }

  get faults(): readonly Fault[] {
    return this.#faults;
  }

  /** A part of the value. */
  at(key: string | number): Place {
    return new Place([...this.#path, String(key)], this.#faults);
  }

  /** Notes a fault of this value; without a path, it is named `otherwise`. */
  refuse(message: string, otherwise = "options"): void {
    const option = this.#path.join(".") || otherwise;
    this.#faults.push({ option, message });
  }
}

/** Returns the value to use. The result is valid only if no fault was noted. */
export type Check<T> = (value: unknown, place: Place) => T;

/** What a check returns. */
export type Checked<C> = C extends Check<infer T> ? T : never;

/** A value for which `holds` is true. */
export function that<T>(
  holds: (value: unknown) => boolean,
  message: string,
): Check<T> {
  return (value, place) => {
    if (!holds(value)) place.refuse(message);
    return value as T;
  };
}

/** A whole number. */
export function int(min: number, max: number): Check<number> {
  return that(
    (value) => Number.isSafeInteger(value) && isWithin(value, min, max),
    `must be a whole number from ${min} to ${max}`,
  );
}

/** A 64-bit whole number, 0 or above. */
export const uint63: Check<bigint> = that(
  (value) => typeof value === "bigint" && value >= 0n && value < 2n ** 63n,
  "must be a bigint of 0 to 2^63 - 1",
);

/** A text of `min` to `max` characters. */
export function text(min = 0, max = Infinity): Check<string> {
  const rule = max === Infinity
    ? min === 0 ? "a text" : "a text that is not empty"
    : `a text of ${min} to ${max} characters`;
  return that(
    (value) => typeof value === "string" && isWithin(value.length, min, max),
    `must be ${rule}`,
  );
}

/** A text for which `holds` is true. */
export function textThat(
  holds: (text: string) => boolean,
  message: string,
): Check<string> {
  return that((value) => typeof value === "string" && holds(value), message);
}

/** One of these words. */
export function oneOf<const W extends string>(
  ...words: readonly W[]
): Check<W> {
  return that(
    (value) => (words as readonly unknown[]).includes(value),
    `must be ${words.join(", ").replace(/, (?=[^,]*$)/, " or ")}`,
  );
}

export const flag: Check<boolean> = that(
  (value) => typeof value === "boolean",
  "must be true or false",
);

/** A function. Its parameters and its result are not checked here. */
export function callable<F>(): Check<F> {
  return that(isFunction, "must be a function");
}

export function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

/** Nothing, or a value that passes the check. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value, place) =>
    value === undefined ? undefined : check(value, place);
}

/** A value that passes the check, or this default. */
export function withDefault<T>(check: Check<T>, otherwise: unknown): Check<T> {
  return (value, place) =>
    check(value === undefined ? otherwise : value, place);
}

/** A further condition on a value that passes; may return another value. */
export function also<T, U>(
  check: Check<T>,
  next: (value: T, place: Place) => U,
): Check<U> {
  return (value, place) => {
    const before = place.faults.length;
    const checked = check(value, place);
    const isGood = place.faults.length === before;
    return isGood ? next(checked, place) : undefined as U;
  };
}

/** The checks of an object's parts, by name. */
export type Shape = Readonly<Record<string, Check<unknown>>>;

type Optional<S> = {
  [K in keyof S]: undefined extends Checked<S[K]> ? K : never;
}[keyof S];

/** The checked parts; those that may be left out are optional. */
export type Parts<S extends Shape> =
  & { -readonly [K in Exclude<keyof S, Optional<S>>]: Checked<S[K]> }
  & { -readonly [K in Optional<S>]?: Checked<S[K]> };

/** An object with these parts and no others. */
export function object<const S extends Shape>(shape: S): Check<Parts<S>> {
  return (value, place) => {
    const parts: Record<string, unknown> = {};
    const given = objectOf(value, Object.keys(shape), place);
    if (given === undefined) return parts as Parts<S>;
    for (const [key, check] of Object.entries(shape)) {
      const part = check(given[key], place.at(key));
      if (part !== undefined) parts[key] = part;
    }
    return parts as Parts<S>;
  };
}

/** An object with some of these names, and values that pass the check. */
export function record<const K extends string, T>(
  names: readonly K[],
  check: Check<T>,
): Check<Partial<Record<K, T>>> {
  return (value, place) => {
    const parts: Partial<Record<K, T>> = {};
    const given = objectOf(value, names, place);
    for (const name of names) {
      const part = given?.[name];
      if (part !== undefined) parts[name] = check(part, place.at(name));
    }
    return parts;
  };
}

/** The value if it is an object; other names than these are refused. */
function objectOf(
  value: unknown,
  names: readonly string[],
  place: Place,
): Record<string, unknown> | undefined {
  if (!isObject(value)) {
    place.refuse("must be an object");
    return undefined;
  }
  const others = Object.keys(value).filter((name) => !names.includes(name));
  if (others.length > 0) {
    // Other names may be anything, so too little of each is shown to reveal a
    // secret.
    const shown = others.slice(0, 8).map((name) => printable(name, 16))
      .join(", ");
    place.refuse(`has no option ${shown}`, shown);
  }
  return value;
}

/** An array of at most `max` values. */
export function list<T>(check: Check<T>, max: number): Check<T[]> {
  return (value, place) => {
    if (Array.isArray(value) && value.length <= max) {
      return value.map((item, i) => check(item, place.at(i)));
    }
    place.refuse(`must be a list of at most ${max}`);
    return [];
  };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWithin(value: unknown, min: number, max: number): boolean {
  return (value as number) >= min && (value as number) <= max;
}
