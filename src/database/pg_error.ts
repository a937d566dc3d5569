import { printable } from "../storage/foreign_text.ts";

/** Longer than any message of PostgreSQL's own, with the names in it. */
const shownOfMessage = 500;

/**
 * An error that the server, or an impostor, reported. Its fields `detail`,
 * `hint` and `where` are dropped on purpose: they quote row data ("Failing row
 * contains …"), and no stored byte may reach a log. The other fields are
 * shortened and escaped.
 */
export class PgError extends Error {
  override readonly name = "PgError";
  /** SQLSTATE, five characters. */
  readonly sqlState: string;
  readonly severity: string;
  /** The failed statement's index in the batch; -1 if none was running. */
  readonly statementIndex: number;
  /** Names of the failed objects, where the server gives them. */
  readonly table: string | undefined;
  readonly constraint: string | undefined;
  /** The server's C function that raised it. */
  readonly routine: string | undefined;

  constructor(fields: ReadonlyMap<string, string>, statementIndex: number) {
    const shown = (field: string, max: number) => {
      const text = fields.get(field);
      return text === undefined ? undefined : printable(text, max);
    };
    super(shown("M", shownOfMessage) ?? "Unknown error");
    this.sqlState = sqlStateIn(fields.get("C"));
    this.severity = shown("V", 16) ?? shown("S", 16) ?? "ERROR";
    this.statementIndex = statementIndex;
    this.table = shown("t", 64);
    this.constraint = shown("n", 64);
    this.routine = shown("R", 64);
  }

  /**
   * The prepared statement is gone or outdated, or its name is another's: a
   * pooler changed the server, or a migration a table. It must be parsed again.
   */
  get isStalePlan(): boolean {
    return this.sqlState === "26000" || this.sqlState === "42P05" ||
      (this.sqlState === "0A000" && this.routine === "RevalidateCachedQuery");
  }

  /**
   * A new session may succeed where this one, although its connection works,
   * can't: it began while the database was read-only, it is shared with another
   * client, or its state in the server is broken.
   */
  get isOfSession(): boolean {
    return ofSession.includes(this.sqlState);
  }
}

/** It becomes an attribute of metrics, so its values must be limited. */
function sqlStateIn(text: string | undefined): string {
  return text !== undefined && /^[0-9A-Z]{5}$/.test(text) ? text : "XX000";
}

const ofSession = [
  "25006", // read_only_sql_transaction
  "42P05", // duplicate_prepared_statement
  "08P01", // protocol_violation
  "XX000", // internal_error
];

/** The connection broke, or was broken, before the answer was complete. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
  /**
   * Whether any byte of the work was passed to the socket. If not, the server
   * can't have done it.
   */
  readonly sent: boolean;

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}

/** Reads the fields of an ErrorResponse or NoticeResponse body. */
export function readErrorFields(
  bytes: Uint8Array,
  start: number,
  end: number,
): Map<string, string> {
  const text = new TextDecoder();
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const stop = bytes.indexOf(0, at + 1);
    if (stop < 0 || stop >= end) break;
    fields.set(
      String.fromCharCode(bytes[at]!),
      text.decode(bytes.subarray(at + 1, stop)),
    );
    at = stop + 1;
  }
  return fields;
}
