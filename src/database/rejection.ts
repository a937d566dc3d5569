/**
 * How a statement inside a flush stops the transaction and gives the reason.
 *
 * The statements of a write are sent together, so the client can't see a
 * check's result before the writes after it run. The check itself therefore
 * raises an error when its rule is broken, which makes the server skip the rest
 * and roll back. Without functions of our own, SQL can raise an error with a
 * chosen text through a cast that must fail; the text carries the reason and
 * the figures as JSON.
 */

import { PgError } from "./pg_error.ts";

const marker = "stream-storage:";
/** Our own texts have some hundred. */
const maxJsonChars = 4096;

/** Why a check stopped a transaction. */
export interface Rejection {
  reason: string;
  /** Figures named in the statement; 64-bit numbers stay exact. */
  figures: Record<string, bigint | null>;
}

/**
 * SQL that stops the transaction when it is evaluated. `figures` maps names to
 * SQL expressions of type bigint; both come from our own statements, never from
 * a caller.
 *
 * Neither concat nor json_build_object is immutable, so the planner can't
 * evaluate the cast before the CASE branch that contains it. The server
 * prepares the expression at every execution, needed or not: concat costs less.
 */
export function rejectSql(
  reason: string,
  figures: Record<string, string> = {},
): string {
  const parts = Object.entries(figures).map(
    ([name, expression]) => `, '${name}', (${expression})::pg_catalog.text`,
  );
  if (parts.length === 0) {
    return `pg_catalog.concat('${marker}{"reason": "${reason}"}')::int`;
  }
  return `('${marker}' || pg_catalog.json_build_object('reason', '${reason}'${
    parts.join("")
  })::pg_catalog.text)::int`;
}

/** The rejection in an error, if it has one. */
export function rejectionOf(error: unknown): Rejection | undefined {
  if (!(error instanceof PgError) || error.sqlState !== "22P02") {
    return undefined;
  }
  // The quotes around the text depend on the server's language.
  const at = error.message.indexOf(marker);
  if (at < 0) return undefined;
  const text = error.message.slice(at + marker.length);
  const json = text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1);
  return json.length <= maxJsonChars ? parse(json) : undefined;
}

/** A server that is not PostgreSQL may send anything here. */
function parse(json: string): Rejection | undefined {
  try {
    const { reason, ...figures } = JSON.parse(json) as Record<string, string>;
    if (typeof reason !== "string") return undefined;
    return {
      reason,
      figures: Object.fromEntries(
        Object.entries(figures).map(([name, value]) => [
          name,
          value === null ? null : BigInt(value),
        ]),
      ),
    };
  } catch {
    return undefined;
  }
}
