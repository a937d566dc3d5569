/**
 * The server's settings, for a session or for one transaction.
 *
 * A session of one's own is told its settings once, as it starts. Behind a
 * pooler in transaction mode that can't be: the pooler refuses them at the
 * start, and set later they would hold for whoever gets the server's session
 * next. There they go with each flush, in front of its work: two statements
 * more, no round trip more.
 */

import { quoteLiteral } from "./migrations/sql_text.ts";
import { bind, type Bound, type Statement, statement } from "./statement.ts";

/** Settings of the server by name, as `SET` takes them. */
export type SessionSettings = Readonly<Record<string, string>>;

const setStatementTimeout = settingStatement({});

const none: readonly Bound[] = [];

/** What a flush has to set before its work. */
export class TransactionSettings {
  readonly #setAll: Statement<["text"]> | undefined;
  readonly #isolation: Bound | undefined;
  readonly #timeout: string;

  /** Without settings, only a timeout that is shortened needs a statement. */
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
      // The default would only hold for the next one.
      ...(readOnly && { transaction_read_only: readOnly }),
    });
    this.#isolation = isolation === undefined
      ? undefined
      : bind(isolationStatement(isolation));
  }

  /** The statements; none when the session has its settings already. */
  statements(withinMs: number | undefined): readonly Bound[] {
    const shorter = withinMs && String(Math.ceil(withinMs));
    if (this.#setAll === undefined) {
      return shorter ? [bind(setStatementTimeout, shorter)] : none;
    }
    const all = bind(this.#setAll, shorter || this.#timeout);
    return this.#isolation === undefined ? [all] : [this.#isolation, all];
  }
}

/** One SELECT: statement_timeout and others until the transaction ends. */
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
 * Has to come before anything that takes a snapshot, a SELECT of set_config
 * among it. Of this variable the server keeps nothing beyond the transaction,
 * so this is not SET LOCAL, which outside of BEGIN warns into the server's log.
 */
function isolationStatement(isolation: string): Statement {
  return statement({
    text: `SET transaction_isolation TO ${quoteLiteral(isolation)}`,
  });
}
