/** Calls of a store as values, to make, compare and print. */
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import type { OperationName } from "../../../src/storage/operations.ts";
import { bytesToHex, type StreamId } from "../../../src/storage/stream_id.ts";
import type { StreamStorage } from "../../../src/storage/stream_storage.ts";
import { collect } from "../../../src/testing/contract/support.ts";

/** A call, whose arguments may have wrong types. */
export interface Call {
  operation: OperationName;
  args: readonly unknown[];
}

/** The result or error of a call, to compare. */
export type Outcome = { value: unknown } | { error: unknown };

/** Makes a call and waits for its outcome. */
export async function perform(
  storage: StreamStorage,
  { operation, args }: Call,
): Promise<Outcome> {
  // Arguments of wrong types are tried, too.
  const method = storage[operation] as (...args: readonly unknown[]) => unknown;
  try {
    const result = method.apply(storage, [...args]);
    return {
      value: operation === "streamMiniblocks"
        ? await collect(result as AsyncIterable<unknown>)
        : await result,
    };
  } catch (error) {
    return { error: plainError(error) };
  }
}

/** The parts of an error that the contract fixes: all except its text. */
function plainError(error: unknown): unknown {
  if (!isStreamStorageError(error)) return { foreign: String(error) };
  const { code, operation, details, retryable, outcome } = error;
  return { code, operation, details, retryable, outcome };
}

/** Names for the streams of a sequence in printed code. */
export type Names = ReadonlyMap<unknown, string>;

/** A call as a line of code. */
export function showCall({ operation, args }: Call, names: Names): string {
  return `s.${operation}(${args.map((arg) => show(arg, names)).join(", ")})`;
}

/** A value as code. */
export function show(value: unknown, names: Names): string {
  const name = names.get(value);
  if (name !== undefined) return name;
  if (value instanceof Uint8Array) return showBytes(value);
  switch (typeof value) {
    case "bigint":
      return `${value}n`;
    case "string":
      return JSON.stringify(value);
    case "object":
      break;
    default:
      return String(value);
  }
  if (value === null) return "null";
  if (Array.isArray(value)) {
    return `[${value.map((item) => show(item, names)).join(", ")}]`;
  }
  const fields = Object.entries(value)
    .map(([key, field]) => `${key}: ${show(field, names)}`);
  return fields.length === 0 ? "{}" : `{ ${fields.join(", ")} }`;
}

function showBytes(value: Uint8Array): string {
  if (value.length > 64 && value.every((byte) => byte === value[0])) {
    return `new Uint8Array(${value.length}).fill(${value[0]})`;
  }
  const text = new TextDecoder().decode(value);
  const hash = value.length === 32 && /^([ -~]+)\0+$/.exec(text)?.[1];
  if (hash) return `hashOf(${JSON.stringify(hash)})`;
  return /^[ -~]*$/.test(text)
    ? `bytes(${JSON.stringify(text)})`
    : `hexToBytes("${bytesToHex(value)}")`;
}

/** The stream of a call, if its first argument is an id. */
export function streamOf({ args }: Call): StreamId | undefined {
  const [streamId] = args;
  return typeof streamId === "string" ? streamId as StreamId : undefined;
}
