/** Transactions of a migration run. */

import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { sqlStateOf, toStorageError, verdictOf } from "../failures.ts";
import { searchPath } from "../search_path.ts";
import type { MigrationConnection } from "./connection.ts";

/**
 * The session's own settings must not stop a long migration, make it read-only,
 * or lead to types and functions that others made. The notices of IF NOT EXISTS
 * are useless.
 */
export const beginSql = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL search_path = ${searchPath};
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
SET LOCAL client_min_messages = warning;`;

/** The statements as the text of one transaction. */
export function transactionSql(statements: string): string {
  return `${beginSql}\n${statements}\nCOMMIT;`;
}

/** Runs statements as one transaction, in a way that suits the server. */
export type RunTransaction = typeof runTransaction;

/**
 * Runs the statements as one transaction, in one round trip. Returns the rows
 * of the last statement that returned any.
 */
export function runTransaction(
  connection: MigrationConnection,
  statements: string,
): Promise<(string | null)[][]> {
  return rollingBack(
    connection,
    () => connection.script(transactionSql(statements)),
  );
}

/** Runs the caller's work on the connection as one transaction. */
export function runHook(
  connection: MigrationConnection,
  hook: (connection: MigrationConnection) => Promise<void>,
): Promise<void> {
  return rollingBack(connection, async () => {
    await connection.script(beginSql);
    await hook(connection);
    // After a failed statement, COMMIT rolls back without an error; the
    // statement before it reports the failure.
    await connection.script("SELECT 1; COMMIT;");
  });
}

/** Whether any of the queries, which return one row each, returns true. */
export async function findsRows(
  connection: MigrationConnection,
  queries: readonly string[],
): Promise<boolean> {
  for (const query of queries) {
    const rows = await connection.script(query);
    if (rows[0]?.[0] === "t") return true;
  }
  return false;
}

export async function rollingBack<T>(
  connection: MigrationConnection,
  body: () => Promise<T>,
): Promise<T> {
  try {
    return await body();
  } catch (error) {
    // Fails only if the session is gone, and its transaction with it.
    await connection.script("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** The error of a run for callers: it names the activity and the schema. */
export function migrationFailure(
  error: unknown,
  context: {
    operation: string;
    schema: string;
    /** The activity, for the text: "Upgrade to version 8". */
    activity: string;
    signal?: AbortSignal | undefined;
  },
): StreamStorageError {
  const failure = toStorageError(error, {
    unknownOutcome: verdictOf(error, "write") === "unknown",
    signal: context.signal,
  });
  if (failure === error) return failure.withOperation(context.operation);
  // The server's lock table is too small for one of our transactions.
  const outOfLocks = sqlStateOf(error) === "53200";
  const advice = outOfLocks ? "; raise max_locks_per_transaction" : "";
  return new StreamStorageError({
    code: failure.code,
    operation: context.operation,
    message: `${context.activity} of schema ${
      quoted(context.schema)
    } failed: ${failure.message}${advice}`,
    details: { ...failure.details, schema: context.schema },
    retryable: failure.retryable,
    outcome: failure.outcome,
    cause: error,
  });
}
