/**
 * The server's settings, for a session or for one transaction.
 *
 * A session of our own gets its settings once, in its startup. Behind a pooler
 * in transaction mode that is impossible: the pooler refuses them in the
 * startup, and if they were set later, the next client of the server's session
 * would inherit them. There they are sent with each flush, before its work: two
 * more statements, but no further round trip.
 */

import { quoteLiteral } from "./migrations/sql_text.ts";
import { bind, type Bound, type Statement, statement } from "./statement.ts";

/** Settings of the server by name, with values as for `SET`. */
export type SessionSettings = Readonly<Record<string, string>>;

const setStatementTimeout = settingStatement({});

const none: readonly Bound[] = [];

/** The settings that a flush must make before its work. */
export class TransactionSettings {
  readonly #setAll: Statement<["text"]> | undefined;
  readonly #isolation: Bound | undefined;
  readonly #timeout: string;

  /** Without settings, a statement is needed only to shorten a timeout. */
  constructor(settings: SessionSettings | undefined) {
    const {
      default_transaction_isolation: isolation,
      default_transaction_read_only: readOnly,
      statement_timeout: timeout = "0",
      ...others
    } = settings ?? {};
    this.#timeout = timeout;
    this.#setAll = settings === undefined ? undefined : settingStatement({
      ...others,
      // The default setting would apply only to the next transaction.
      ...(readOnly && { transaction_read_only: readOnly }),
    });
    this.#isolation = isolation === undefined
      ? undefined
      : bind(isolationStatement(isolation));
  }

  /** The statements; none if the session already has its settings. */
  statements(withinMs: number | undefined): readonly Bound[] {
    const shorter = withinMs && String(Math.ceil(withinMs));
    if (this.#setAll === undefined) {
      return shorter ? [bind(setStatementTimeout, shorter)] : none;
    }
    const all = bind(this.#setAll, shorter || this.#timeout);
    return this.#isolation === undefined ? [all] : [this.#isolation, all];
  }
}

/** A SELECT that sets statement_timeout and others for the transaction. */
function settingStatement(others: SessionSettings): Statement<["text"]> {
  const calls = [
    "pg_catalog.set_config('statement_timeout', $1, true)",
    ...Object.entries(others).map(([name, value]) =>
      `pg_catalog.set_config(${quoteLiteral(name)}, ${
        quoteLiteral(value)
      }, true)`
    ),
  ];
  return statement({
    text: `SELECT ${calls.join(", ")}`,
    params: ["text"],
    columns: calls.map(() => "text" as const),
  });
}

/**
 * Must come before anything that takes a snapshot, including a SELECT of
 * set_config. The server forgets this variable with the transaction, so this
 * need not be SET LOCAL, which outside of BEGIN warns into the server's log.
 */
function isolationStatement(isolation: string): Statement {
  return statement({
    text: `SET transaction_isolation TO ${quoteLiteral(isolation)}`,
  });
}
