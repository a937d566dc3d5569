/**
 * How a statement in the middle of a flush stops the transaction and says why.
 *
 * The statements of a write are sent together, so nobody on our side can look
 * at a check's result before the writes behind it run. The check itself
 * therefore raises an error when its rule is broken, which makes the server
 * skip the rest and roll back. SQL without functions of our own can raise one
 * with a text of our choice by a cast that must fail; the text carries the
 * reason and the figures as JSON.
 */

import { PgError } from "./pg_error.ts";

const marker = "stream-storage:";
/** Ours have some hundred. */
const maxJsonChars = 4096;

/** Why a check stopped a transaction. */
export interface Rejection {
  reason: string;
  /** Figures named in the statement; 64-bit numbers stay exact. */
  figures: Record<string, bigint | null>;
}

/**
 * SQL that, when evaluated, stops the transaction. `figures` maps names to SQL
 * expressions of type bigint; both come from our own statements, never from
 * a caller.
 *
 * Neither concat nor json_build_object is immutable, so the planner cannot
 * evaluate the cast ahead of the CASE branch in which it stands. The server
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

/** The rejection that an error carries, if it carries one. */
export function rejectionOf(error: unknown): Rejection | undefined {
  if (!(error instanceof PgError) || error.sqlState !== "22P02") {
    return undefined;
  }
  // The quotes around the text differ with the server's language.
  const at = error.message.indexOf(marker);
  if (at < 0) return undefined;
  const text = error.message.slice(at + marker.length);
  const json = text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1);
  return json.length <= maxJsonChars ? parse(json) : undefined;
}

/** A server that is not PostgreSQL may write anything there. */
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
