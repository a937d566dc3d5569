/**
 * What an error of the driver means: whether the work may be retried, and which
 * error callers get. SQLSTATE decides (PostgreSQL documentation, appendix A)
 * along the whole chain of causes, never message text.
 */

import {
  isStreamStorageError,
  StreamStorageError,
  withChanges,
} from "../storage/errors.ts";
import { messageOf } from "../storage/foreign_text.ts";
import { canceled } from "../storage/contract_errors.ts";
import {
  FenceClosedError,
  FenceTimeoutError,
  ownershipLost,
} from "./fence_errors.ts";
import { LoginError } from "./login/login_error.ts";
import { PasswordUnavailableError } from "./login/password.ts";
import { ConnectionLostError, PgError } from "./pg_error.ts";
import {
  PoolClosedError,
  PoolOverloadError,
  PoolTimeoutError,
} from "./pool_errors.ts";
import { OpenTransactionError } from "./transaction_status.ts";

/** What can be done about an error. */
export type Verdict =
  /** Nothing was committed; the same work may succeed now. */
  | "retry"
  /** The answer was lost: the work was done wholly or not at all. */
  | "unknown"
  /** Nothing was committed; a retry would fail in the same way. */
  | "final";

/** Decides what can be done about an error of a transaction. */
export function verdictOf(error: unknown, mode: "read" | "write"): Verdict {
  // Already the result of a look at the database, after its own retries.
  if (isStreamStorageError(error)) return "final";
  const lost = findCause(error, ConnectionLostError);
  if (lost !== undefined) {
    if (lost.sent && mode === "write") return "unknown";
    const sqlState = sqlStateOf(lost);
    const isFinal = isSetupFault(sqlState) || isBadSetting(sqlState) ||
      findCause(lost, LoginError) !== undefined ||
      givenBy(lost)?.retryable === false ||
      (!lost.sent && findCause(lost, OpenTransactionError) !== undefined);
    return isFinal ? "final" : "retry";
  }
  const pg = findCause(error, PgError);
  if (pg === undefined) return "final";
  switch (pg.sqlState) {
    case "08007": // transaction_resolution_unknown, from a proxy
    case "40003": // statement_completion_unknown
      return mode === "write" ? "unknown" : "retry";
    case "40001": // serialization_failure
    case "40P01": // deadlock_detected
    case "25006": // read_only_sql_transaction, after a failover
    case "53300": // too_many_connections
    case "57P03": // cannot_connect_now
      return "retry";
    default:
      return pg.isStalePlan ? "retry" : "final";
  }
}

/**
 * The error that callers get. One of our errors stays unchanged, unless it
 * hides that the outcome is unknown.
 */
export function toStorageError(
  error: unknown,
  options: { unknownOutcome?: boolean; signal?: AbortSignal | undefined } = {},
): StreamStorageError {
  const { signal, unknownOutcome = false } = options;
  const outcome = unknownOutcome ? "unknown" : "rolled_back";
  const given = signal?.aborted && error === signal.reason
    ? canceled(error)
    : givenBy(error) ?? error;
  if (!isStreamStorageError(given)) return translated(given, outcome);
  if (!unknownOutcome || given.outcome === "unknown") return given;
  return withChanges(given, { outcome });
}

/**
 * The error with which an operation ends; it names the operation. Once the
 * signal has aborted, whatever failed then is taken for a consequence.
 */
export function operationError(
  operation: string,
  error: unknown,
  signal: AbortSignal | undefined,
): StreamStorageError {
  const failure = signal?.aborted
    ? canceled(signal.reason)
    : toStorageError(error);
  return failure.withOperation(operation);
}

/** The error by which the password function chose to tell callers. */
function givenBy(error: unknown): StreamStorageError | undefined {
  const lost = findCause(error, ConnectionLostError);
  return lost?.sent === false ? findCause(lost, StreamStorageError) : undefined;
}

function translated(
  error: unknown,
  outcome: "unknown" | "rolled_back",
): StreamStorageError {
  if (error instanceof FenceClosedError) {
    return ownershipLost({ ...error, outcome, cause: error });
  }
  if (error instanceof FenceTimeoutError) {
    return new StreamStorageError({
      code: "DEADLINE_EXCEEDED",
      message: `Write could not be sent: ${error.message}`,
      details: { reason: "fence_timeout", waitedMs: error.waitedMs },
      retryable: true,
      outcome,
      cause: error,
    });
  }
  if (error instanceof PoolClosedError) {
    return new StreamStorageError({
      code: "FAILED_PRECONDITION",
      message: `Storage was closed: ${error.message}`,
      details: { reason: "closed" },
      outcome,
      cause: error,
    });
  }
  if (error instanceof PoolOverloadError) {
    return new StreamStorageError({
      code: "RESOURCE_EXHAUSTED",
      message: `Too many calls are waiting for a connection: ${error.message}`,
      details: { reason: "pool_queue_full", waiting: error.waiting },
      retryable: true,
      outcome,
      cause: error,
    });
  }
  if (error instanceof PoolTimeoutError) {
    return new StreamStorageError({
      code: "DEADLINE_EXCEEDED",
      message: `No connection became free: ${error.message}`,
      details: { reason: "acquire_timeout", waitedMs: error.waitedMs },
      retryable: true,
      outcome,
      cause: error,
    });
  }
  return databaseError(error, outcome);
}

function databaseError(
  error: unknown,
  outcome: "unknown" | "rolled_back",
): StreamStorageError {
  const sqlState = sqlStateOf(error);
  const isOpen = findCause(error, OpenTransactionError) !== undefined;
  const { code, reason, message } = isOpen ? openTransaction : meaningOf(
    sqlState,
    findCause(error, ConnectionLostError),
    findCause(error, LoginError),
    findCause(error, PasswordUnavailableError) !== undefined,
  );
  return new StreamStorageError({
    code,
    message: `${message}: ${messageOf(error)}`,
    details: { reason, ...(sqlState === undefined ? {} : { sqlState }) },
    retryable: code !== "BAD_CONFIG" && code !== "DB_OPERATION_FAILURE",
    outcome,
    cause: error,
  });
}

/** What a failure means to callers. */
interface Meaning {
  code: StreamStorageError["code"];
  reason: string;
  message: string;
}

function meaningOf(
  sqlState: string | undefined,
  lost: ConnectionLostError | undefined,
  login: LoginError | undefined,
  lacksPassword: boolean,
): Meaning {
  if (lost?.sent !== true) {
    const meaning = meaningOfRefusal(sqlState, lost !== undefined, login) ??
      meanings.get(sqlState ?? "");
    if (meaning !== undefined) return meaning;
  }
  if (lost?.sent === false && lacksPassword) {
    return {
      code: "UNAVAILABLE",
      reason: "password_unavailable",
      message: "There is no password to log in with",
    };
  }
  if (lost?.sent === false) {
    return {
      code: "UNAVAILABLE",
      reason: "connection_failed",
      message: "Database is unreachable",
    };
  }
  if (lost !== undefined || isServerGone(sqlState)) {
    return {
      code: "UNAVAILABLE",
      reason: "connection_lost",
      message: "Database connection broke",
    };
  }
  return {
    code: "DB_OPERATION_FAILURE",
    reason: "database_error",
    message: "Database refused the work",
  };
}

/** What only another configuration, or another right, can mend. */
function meaningOfRefusal(
  sqlState: string | undefined,
  isLost: boolean,
  login: LoginError | undefined,
): Meaning | undefined {
  if (login !== undefined) {
    return {
      code: "BAD_CONFIG",
      reason: login.fault,
      message: "Login can't succeed with this configuration",
    };
  }
  if (sqlState === "42501") {
    return {
      code: "BAD_CONFIG",
      reason: "insufficient_privilege",
      message: "Database role lacks a right, see `migrate grants`",
    };
  }
  if (isSetupFault(sqlState) || (isLost && isBadSetting(sqlState))) {
    return {
      code: "BAD_CONFIG",
      reason: "login_refused",
      message: "Database refused the login",
    };
  }
  return undefined;
}

/** As permanent as a wrong password. */
const openTransaction: Meaning = {
  code: "BAD_CONFIG",
  reason: "transaction_open",
  message: "The connection leads through a pooler or proxy that keeps a " +
    "transaction open, in which nothing would be stored",
};

const conflicts: Meaning = {
  code: "UNAVAILABLE",
  reason: "too_many_conflicts",
  message: "Transaction conflicted with others at every attempt",
};

function lackOf(reason: string): Meaning {
  return {
    code: "UNAVAILABLE",
    reason,
    message: "Database is out of resources",
  };
}

/**
 * The meaning of the server's refusals, by SQLSTATE. A Map, because a server
 * may send "constructor".
 */
const meanings = new Map<string, Meaning>(Object.entries({
  "25006": {
    code: "UNAVAILABLE",
    reason: "read_only_server",
    message: "Database takes no writes",
  },
  "40001": conflicts,
  "40P01": conflicts,
  "53000": lackOf("insufficient_resources"),
  "53100": lackOf("disk_full"),
  "53200": lackOf("out_of_memory"),
  "53300": lackOf("too_many_connections"),
  "53400": lackOf("configuration_limit_exceeded"),
  "55P03": {
    code: "DEADLINE_EXCEEDED",
    reason: "lock_timeout",
    message: "Lock was not available in time",
  },
  "57014": {
    code: "DEADLINE_EXCEEDED",
    reason: "statement_timeout",
    message: "Statement took too long",
  },
}));

/** The first SQLSTATE in the chain of causes. */
export function sqlStateOf(error: unknown): string | undefined {
  for (const cause of causesOf(error)) {
    if (cause instanceof PgError) return cause.sqlState;
    const { code } = cause as { code?: unknown };
    // The system's own codes, such as EPIPE and EPERM, have no digit.
    if (typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code)) {
      return code;
    }
  }
  return undefined;
}

/** No such database, no right, a server with a wrong configuration. */
const setupFaults = ["3D000", "42501", "F0000"];

/** Wrong password, user, database or rights: no retry cures it. */
function isSetupFault(sqlState: string | undefined): boolean {
  return sqlState !== undefined &&
    (sqlState.startsWith("28") || setupFaults.includes(sqlState));
}

/** A setting in a login's `options` that the server refuses. */
function isBadSetting(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(22|42)/.test(sqlState);
}

/** Shutdown, crash, start-up. */
function isServerGone(sqlState: string | undefined): boolean {
  return sqlState !== undefined &&
    (sqlState.startsWith("08") || /^57P0[1-5]$/.test(sqlState));
}

function findCause<E extends Error>(
  error: unknown,
  type: abstract new (...args: never[]) => E,
): E | undefined {
  for (const cause of causesOf(error)) if (cause instanceof type) return cause;
  return undefined;
}

function* causesOf(error: unknown): Generator<Error> {
  let cause = error;
  for (let depth = 0; depth < 16 && cause instanceof Error; depth++) {
    yield cause;
    cause = cause.cause;
  }
}
