/**
 * Settings that must not reach a session by `ALTER ROLE … SET`, `ALTER DATABASE … SET`
 * or postgresql.conf, because they would keep it from its work. Each kind of session
 * has its own, as it waits for other things.
 *
 * What is left to the server's administrator: `default_transaction_read_only`, which
 * is meant for us, too; `synchronous_commit` (docs/failover.md); whatever only costs
 * time.
 */

import { deadClientSettings } from "./dead_clients.ts";
import { quoteLiteral } from "./migrations/sql_text.ts";
import { ConnectionLostError } from "./pg_error.ts";
import { setSearchPath } from "./search_path.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";
import type { SessionSettings } from "./transaction_settings.ts";

/** For whatever talks to the server, behind a pooler, too. */
export const languageSettings: SessionSettings = {
  // At `error` nobody hears that a commit has not reached its standby (session.ts).
  client_min_messages: "warning",
};

/** For sessions that are kept: neither their silence nor their client's end them. */
export const keptSettings: SessionSettings = {
  ...deadClientSettings,
  idle_session_timeout: "0",
};

/** Known since PostgreSQL 17, so no session can ask for it at its start. */
export const laterSettings: SessionSettings = { transaction_timeout: "0" };

/** For a session that has a schema's owner, or its migrations. */
export function lastingSettings(answerTimeoutMs: number): SessionSettings {
  return {
    ...languageSettings,
    ...keptSettings,
    ...laterSettings,
    // Nobody waits for the answer any longer.
    statement_timeout: String(answerTimeoutMs),
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    default_transaction_isolation: "read committed",
    // An owner's epoch is a local time; none of its hours may come twice.
    TimeZone: "UTC",
  };
}

/**
 * Sets what the server knows of it, for the session, and its search_path, which a
 * pooler may have ignored, too.
 *
 * @throws {ConnectionLostError} with `sent` false; the session is gone.
 */
export async function applySettings(
  session: Session,
  settings: SessionSettings,
): Promise<void> {
  const wanted = Object.entries(settings).map((pair) =>
    `(${pair.map(quoteLiteral).join(", ")})`
  );
  const text = `SELECT pg_catalog.set_config(known.name, wanted.value, false)
    FROM (VALUES ${wanted.join(", ")}) AS wanted (name, value)
    JOIN pg_catalog.pg_settings AS known ON known.name = wanted.name`;
  try {
    // The path first: what follows looks names up by it.
    await session.run([
      bind(setSearchPath),
      bind(statement({ text, columns: ["text"], once: true })),
    ]);
  } catch (error) {
    session.destroy("The session could not be set up", error);
    const why = error instanceof Error ? error.message : String(error);
    throw new ConnectionLostError(
      `The session could not be set up: ${why}`,
      false,
      error,
    );
  }
}
