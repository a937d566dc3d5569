/**
 * Checks of options, put together from small ones. Each takes a value of any kind
 * and returns it as it is meant, with defaults filled in, or notes what is wrong
 * with it: all faults are told at once, and no value is ever shown.
 *
 * A library for this takes longer to load, and to be told of the options, than all
 * that a store does until it is open.
 */

import { printable } from "../storage/foreign_text.ts";

/** What is wrong with an option. */
export interface Fault {
  option: string;
  message: string;
}

/** Where a value stands, and the faults that were found. */
export class Place {
  readonly #path: readonly string[];
  readonly #faults: Fault[];

  /** Without a path, the options as a whole. */
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

  /** Notes a fault of this value, or what else is to be named. */
  refuse(message: string, otherwise = "options"): void {
    const option = this.#path.join(".") || otherwise;
    this.#faults.push({ option, message });
  }
}

/** Returns the value as it is meant. What it returns counts only without faults. */
export type Check<T> = (value: unknown, place: Place) => T;

/** What a check returns. */
export type Checked<C> = C extends Check<infer T> ? T : never;

/** A value for which this holds. */
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

/** A whole number of 64 bits, not a negative one. */
export const uint63: Check<bigint> = that(
  (value) => typeof value === "bigint" && value >= 0n && value < 2n ** 63n,
  "must be a bigint of 0 to 2^63 - 1",
);

/** A text of so many characters. */
export function text(min = 0, max = Infinity): Check<string> {
  const rule = max === Infinity
    ? min === 0 ? "a text" : "a text that is not empty"
    : `a text of ${min} to ${max} characters`;
  return that(
    (value) => typeof value === "string" && isWithin(value.length, min, max),
    `must be ${rule}`,
  );
}

/** A text for which this holds. */
export function textThat(
  holds: (text: string) => boolean,
  message: string,
): Check<string> {
  return that((value) => typeof value === "string" && holds(value), message);
}

/** One of some words. */
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

/** A function; what it takes and returns is its owner's matter. */
export function callable<F>(): Check<F> {
  return that(isFunction, "must be a function");
}

export function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

/** Nothing, or a value that passes. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value, place) =>
    value === undefined ? undefined : check(value, place);
}

/** A value that passes, or this one instead of nothing. */
export function withDefault<T>(check: Check<T>, otherwise: unknown): Check<T> {
  return (value, place) =>
    check(value === undefined ? otherwise : value, place);
}

/** What more must hold of a value that passes; may return another one. */
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

/** Parts by their names. */
export type Shape = Readonly<Record<string, Check<unknown>>>;

type Optional<S> = {
  [K in keyof S]: undefined extends Checked<S[K]> ? K : never;
}[keyof S];

/** What the parts are checked to be; those that may be left out are optional. */
export type Parts<S extends Shape> =
  & { -readonly [K in Exclude<keyof S, Optional<S>>]: Checked<S[K]> }
  & { -readonly [K in Optional<S>]?: Checked<S[K]> };

/** An object with these parts and no other. */
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

/** Values by some of these names. */
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

/** The value, if it is an object; other names than these are refused. */
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
    // They may be anything: too little of each to hold a secret.
    const shown = others.slice(0, 8).map((name) => printable(name, 16))
      .join(", ");
    place.refuse(`has no option ${shown}`, shown);
  }
  return value;
}

/** At most so many values. */
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
