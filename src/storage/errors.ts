/** The one error class of the storage, with the protocol's own codes. */

/** What went wrong, as a code of the protocol; each method lists its codes. */
export type StreamStorageErrorCode =
  | "INVALID_ARGUMENT"
  | "BAD_STREAM_ID"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "FAILED_PRECONDITION"
  | "INTERNAL"
  | "DB_OPERATION_FAILURE"
  | "MINIBLOCKS_STORAGE_FAILURE"
  | "MINIBLOCKS_NOT_FOUND"
  | "RESOURCE_EXHAUSTED"
  | "BAD_CONFIG"
  | "DOWNSTREAM_NETWORK_ERROR"
  | "CANCELED"
  | "DEADLINE_EXCEEDED"
  | "UNAVAILABLE";

/**
 * What became of the writes of a failed call: `rolled_back`, nothing was
 * written; `committed`, everything was; `unknown`, the connection was lost
 * between COMMIT and its answer, and looking did not settle it.
 */
export type StreamStorageOutcome = "rolled_back" | "committed" | "unknown";

/** What a {@linkcode StreamStorageError} is made from. */
export interface StreamStorageErrorInit {
  /** The protocol's code. */
  code: StreamStorageErrorCode;
  /** The text: the action, the rule, the value received. */
  message: string;
  /** The method that failed; default empty, see `withOperation`. */
  operation?: string;
  /** Plain data; `reason` is a stable snake_case word. Default empty. */
  details?: Record<string, unknown>;
  /** Whether the same call may succeed when repeated. Default false. */
  retryable?: boolean;
  /** What became of the writes. Default `rolled_back`. */
  outcome?: StreamStorageOutcome;
  /** The error behind this one. */
  cause?: unknown;
}

/**
 * The class of every error that the storage throws. Match `code` and
 * `details.reason`, never the message: its text may change.
 *
 * @example A slot that is already taken.
 * ```ts
 * import { isStreamStorageError } from "@towns/stream-storage";
 *
 * await storage.writeEvent(streamId, 1n, 0, new Uint8Array([1]));
 * try {
 *   await storage.writeEvent(streamId, 1n, 0, new Uint8Array([2]));
 * } catch (error) {
 *   if (!isStreamStorageError(error, "DB_OPERATION_FAILURE")) throw error;
 *   const { reason, expected, actual } = error.details;
 *   console.log(reason, expected, actual); // minipool_slot_mismatch 0 1
 * }
 * ```
 */
export class StreamStorageError extends Error {
  /** The protocol's code. */
  readonly code: StreamStorageErrorCode;
  /** The method that failed, or empty when it is not known yet. */
  readonly operation: string;
  /** Plain data about the fault: `reason`, `expected`, `actual` and others. */
  readonly details: Record<string, unknown>;
  /** Whether the same call may succeed when it is repeated. */
  readonly retryable: boolean;
  /** What became of the call's writes. */
  readonly outcome: StreamStorageOutcome;

  /** Makes an error; see {@linkcode StreamStorageErrorInit} for defaults. */
  constructor(init: StreamStorageErrorInit) {
    super(
      init.message,
      init.cause === undefined ? undefined : { cause: init.cause },
    );
    this.name = "StreamStorageError";
    this.code = init.code;
    this.operation = init.operation ?? "";
    this.details = init.details ?? {};
    this.retryable = init.retryable ?? false;
    this.outcome = init.outcome ?? "rolled_back";
  }

  /**
   * Names the operation unless one is named already, and returns the error
   * itself: rules are shared by operations and do not know which one ran.
   */
  withOperation(name: string): this {
    if (this.operation === "") {
      (this as { operation: string }).operation = name;
    }
    return this;
  }
}

/** Returns a copy of the error with other values. */
export function withChanges(
  error: StreamStorageError,
  changes: Partial<StreamStorageErrorInit>,
): StreamStorageError {
  const { code, message, operation, details, retryable, outcome, cause } =
    error;
  const init = { code, message, operation, details, retryable, outcome, cause };
  return new StreamStorageError({ ...init, ...changes });
}

/** Whether `error` comes from the storage and, if given, has this code. */
export function isStreamStorageError(
  error: unknown,
  code?: StreamStorageErrorCode,
): error is StreamStorageError {
  return error instanceof StreamStorageError &&
    (code === undefined || error.code === code);
}
