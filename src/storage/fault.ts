/** Builders for the errors of the contract and of the argument checks. */
import { StreamStorageError, type StreamStorageErrorCode } from "./errors.ts";
import { quoted } from "./foreign_text.ts";

/** A broken argument rule, see {@linkcode invalidArgument}. */
export interface ArgumentFault {
  /** The argument's name, with its path: `miniblocks[2].data`. */
  argument: string;
  /** A stable snake_case word for the rule. */
  reason: string;
  /** The rule, as the text that follows the argument's name. */
  rule: string;
  /** The value; only numbers and types are shown, never content. */
  received?: unknown;
  /** More plain data for the details. */
  details?: Record<string, unknown>;
}

/** `INVALID_ARGUMENT`: a value that the operation can't take. */
export function invalidArgument(fault: ArgumentFault): StreamStorageError {
  const received = "received" in fault
    ? `, received ${describeValue(fault.received)}`
    : "";
  return new StreamStorageError({
    code: "INVALID_ARGUMENT",
    message: `Argument ${fault.argument} ${fault.rule}${received}`,
    details: {
      reason: fault.reason,
      argument: fault.argument,
      ...fault.details,
    },
  });
}

/** Enough to recognise the id that was meant, too little to hold a secret. */
const shownOfStreamId = 16;

/**
 * `BAD_STREAM_ID`, `bad_stream_id`: not 64 lowercase hex characters, or an id
 * that breaks `rule`, which says what an id must do.
 */
export function badStreamId(
  argument: string,
  value: unknown,
  rule = "be a stream id of 64 hex characters",
): StreamStorageError {
  const received = typeof value === "string"
    ? quoted(value, shownOfStreamId)
    : describeValue(value);
  return new StreamStorageError({
    code: "BAD_STREAM_ID",
    message: `Argument ${argument} must ${rule}, received ${received}`,
    details: { reason: "bad_stream_id", argument },
  });
}

/** An error from a code, a reason and details. */
export function fault(
  code: StreamStorageErrorCode,
  reason: string,
  message: string,
  details: Record<string, unknown> = {},
): StreamStorageError {
  return new StreamStorageError({
    code,
    message,
    details: { reason, ...details },
  });
}

/** Numbers and types only: content may be a payload or a secret. */
function describeValue(value: unknown): string {
  switch (typeof value) {
    case "bigint":
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      if (value === null) return "null";
      if (value instanceof Uint8Array) return `${value.length} bytes`;
      return Array.isArray(value) ? `${value.length} items` : "an object";
    default:
      return `a ${typeof value}`;
  }
}
