/**
 * Parses values of options. The errors name the option, and never repeat a
 * value.
 */

import { isStoredForm, type StreamId } from "../storage/stream_id.ts";
import { UsageError } from "./usage_errors.ts";

/** Bounds of a number, both included. */
export interface Bounds {
  min?: number;
  max?: number;
}

/** An integer, for `.option(…, integer("--to", { min: 0 }))`. */
export function integer(
  option: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds = {},
): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    const upTo = max === Number.MAX_SAFE_INTEGER
      ? `of ${min} or more`
      : `from ${min} to ${max}`;
    throw new UsageError(`Expected a whole number ${upTo} after ${option}`);
  };
}

/** A number above 0 that may have a fraction. */
export function positive(
  option: string,
  { max = Infinity }: Pick<Bounds, "max"> = {},
): (text: string) => number {
  return (text) => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    if (value > 0 && value <= max) return value;
    const upTo = max === Infinity ? "above 0" : `above 0, up to ${max}`;
    throw new UsageError(`Expected a number ${upTo} after ${option}`);
  };
}

/** `--rate MB/s`, as bytes a second. */
export function rate(option: string): (text: string) => number {
  const parse = positive(option);
  return (text) => parse(text) * 1e6;
}

const units = new Map([["", 1], ["k", 1e3], ["M", 1e6], ["G", 1e9]]);

/** A number of bytes: `4096`, `20k`, `1.5M`, `1G`. */
export function bytes(option: string): (text: string) => number {
  return (text) => {
    const [, number, unit] = /^(\d+(?:\.\d+)?)([kMG]?)B?$/.exec(text) ?? [];
    if (number !== undefined) {
      return Math.round(Number(number) * units.get(unit!)!);
    }
    throw new UsageError(
      `Expected a number of bytes after ${option}, as 4096, 20k, 1.5M or 1G`,
    );
  };
}

/**
 * A stream's id, for an argument or an option. It accepts any id that can be
 * stored, because commands also examine damaged streams.
 */
export function streamId(where: string): (text: string) => StreamId {
  return (text) => {
    const id = text.toLowerCase().replace(/^0x/, "");
    if (isStoredForm(id)) return id;
    throw new UsageError(
      `Expected the id of a stream ${where}, 64 hexadecimal digits, ` +
        `received ${text.length} characters (they are not shown)`,
    );
  };
}

/** Collects the values of an option that may come several times. */
export function collect<T>(
  parse: (text: string) => T,
): (text: string, before?: T[]) => T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** One of several words. */
export function choice<const T extends string>(
  option: string,
  words: readonly T[],
): (text: string) => T {
  return (text) => {
    const word = words.find((word) => word === text);
    if (word !== undefined) return word;
    throw new UsageError(
      `Expected one of ${words.join(", ")} after ${option}`,
    );
  };
}

/** The beginning of a stream's id. */
export function hexPrefix(option: string): (text: string) => string {
  return (text) => {
    const prefix = text.toLowerCase().replace(/^0x/, "");
    if (/^[0-9a-f]{1,64}$/.test(prefix)) return prefix;
    const where = option.startsWith("--") ? `after ${option}` : option;
    throw new UsageError(`Expected up to 64 hexadecimal digits ${where}`);
  };
}

/** The number of a block. */
export function blockNumber(option: string): (text: string) => bigint {
  return (text) => {
    if (/^\d{1,18}$/.test(text)) return BigInt(text);
    throw new UsageError(`Expected the number of a block after ${option}`);
  };
}
