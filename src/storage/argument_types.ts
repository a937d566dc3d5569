/**
 * The checks of single values that arguments are made of.
 *
 * @module
 */
import { invalidArgument } from "./fault.ts";

/** The largest number of a block. */
export const MAX_INT64: bigint = 2n ** 63n - 1n;
const HASH_BYTES = 32;

/**
 * Calls `check` only for items that fail the quick `isRight`. There may be a
 * hundred thousand items, and naming each takes longer than all the rest.
 */
export function checkEach<T>(
  argument: string,
  list: readonly T[],
  isRight: (item: T) => boolean,
  check: (argument: string, item: T) => void,
): void {
  for (let index = 0; index < list.length; index++) {
    const item = list[index]!;
    if (!isRight(item)) check(`${argument}[${index}]`, item);
  }
}

/** An object, and not null. */
export function checkObject(argument: string, value: unknown): void {
  if (typeof value !== "object" || value === null) {
    throw wrongType(argument, "an object", value);
  }
}

/** An array. */
export function checkList(argument: string, value: unknown): void {
  if (!Array.isArray(value)) throw wrongType(argument, "an array", value);
}

/** Bytes, at least one. */
export function checkBytes(argument: string, value: unknown): void {
  if (!(value instanceof Uint8Array)) {
    throw wrongType(argument, "a Uint8Array", value);
  }
  if (value.length === 0) {
    throw invalidArgument({
      argument,
      reason: "empty_bytes",
      rule: "must not be empty",
      received: value,
    });
  }
}

/** Whether {@linkcode checkBytes} accepts it. */
export function isFilled(value: unknown): boolean {
  return value instanceof Uint8Array && value.length > 0;
}

/** 32 bytes. */
export function checkHash(argument: string, value: unknown): void {
  if (!(value instanceof Uint8Array)) {
    throw wrongType(argument, "a Uint8Array", value);
  }
  if (value.length !== HASH_BYTES) {
    throw outOfRange(argument, `must be ${HASH_BYTES} bytes long`, value);
  }
}

/** Whether {@linkcode checkInt64} accepts it. */
export function isInt64(value: unknown): boolean {
  return typeof value === "bigint" && value >= 0n && value <= MAX_INT64;
}

/** The number of a block, or a generation. */
export function checkInt64(argument: string, value: unknown): void {
  if (typeof value !== "bigint") throw wrongType(argument, "a bigint", value);
  if (value < 0n || value > MAX_INT64) {
    throw outOfRange(argument, "must be from 0 to 2^63 - 1", value);
  }
}

/** A slot, a size or a count. */
export function checkCount(argument: string, value: unknown): void {
  if (typeof value !== "number") throw wrongType(argument, "a number", value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw outOfRange(argument, "must be an integer from 0 to 2^53 - 1", value);
  }
}

/** The error of a value of another type. */
export function wrongType(
  argument: string,
  type: string,
  received: unknown,
): Error {
  return invalidArgument({
    argument,
    reason: "wrong_type",
    rule: `must be ${type}`,
    received,
  });
}

/** The error of a value that breaks a rule. */
export function outOfRange(
  argument: string,
  rule: string,
  received?: unknown,
): Error {
  return invalidArgument({
    argument,
    reason: "out_of_range",
    rule,
    ...(received === undefined ? {} : { received }),
  });
}
