/**
 * Settings that must not reach a session from `ALTER ROLE … SET`,
 * `ALTER DATABASE … SET` or postgresql.conf, because they would prevent its
 * work. Each kind of session has its own, because each waits for other things.
 *
 * The server's administrator keeps control of `default_transaction_read_only`,
 * which is meant for us, too; of `synchronous_commit` (docs/failover.md); and
 * of all settings that only cost time.
 */

import { deadClientSettings } from "./dead_clients.ts";
import { quoteLiteral } from "./migrations/sql_text.ts";
import { ConnectionLostError } from "./pg_error.ts";
import { setSearchPath } from "./search_path.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";
import type { SessionSettings } from "./transaction_settings.ts";

/** For all sessions, also behind a pooler. */
export const languageSettings: SessionSettings = {
  // At `error`, a commit that misses its standby is not reported (session.ts).
  client_min_messages: "warning",
};

/** For kept sessions: neither an idle session nor a silent client ends them. */
export const keptSettings: SessionSettings = {
  ...deadClientSettings,
  idle_session_timeout: "0",
};

/** Unknown before PostgreSQL 17, so no startup can request it. */
export const laterSettings: SessionSettings = { transaction_timeout: "0" };

/** For the session of a schema's owner, or of its migrations. */
export function lastingSettings(answerTimeoutMs: number): SessionSettings {
  return {
    ...languageSettings,
    ...keptSettings,
    ...laterSettings,
    // The client waits no longer for the answer.
    statement_timeout: String(answerTimeoutMs),
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    default_transaction_isolation: "read committed",
    // An owner's epoch is a local time, and none of its hours may occur twice.
    TimeZone: "UTC",
  };
}

/**
 * Sets, for the session, those settings that the server knows, and the
 * search_path, which a pooler may have ignored, too.
 *
 * @throws {ConnectionLostError} with `sent` false; the session is gone.
 */
export async function applySettings(
  session: Session,
  settings: SessionSettings,
): Promise<void> {
  const set = Object.entries(settings).map((pair) => {
    const [name, value] = pair.map(quoteLiteral);
    return `CASE WHEN pg_catalog.current_setting(${name}, true) IS NOT NULL
      THEN pg_catalog.set_config(${name}, ${value}, false) END`;
  });
  // Not by pg_settings: that view takes a new session 3 ms, and this 0.4 ms.
  const text = `SELECT ${set.join(",\n    ")}`;
  try {
    // The path first, because the other statements look up names by it.
    await session.run([
      bind(setSearchPath),
      bind(statement({ text, columns: set.map(() => "text?"), once: true })),
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
