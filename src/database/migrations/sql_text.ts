/**
 * Names and texts inside SQL. The simple query protocol has no parameters, so
 * outside text is checked and quoted here.
 */

import { StreamStorageError } from "../../storage/errors.ts";
import { printable, quoted } from "../../storage/foreign_text.ts";

/** PostgreSQL silently cuts longer names (NAMEDATALEN - 1). */
const MAX_NAME_BYTES = 63;

/** The name as an identifier in SQL: in double quotes, case kept. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The text as a literal in SQL, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const literal = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`;
  return literal.includes("\\") ? ` E${literal}` : literal;
}

/**
 * The statements of a script, one by one, without comments and without what ends
 * them. For our own text: strings with backslashes and nested comments are not in it.
 */
export function splitStatements(sql: string): string[] {
  const parts = sql.match(
    /--.*|"(?:[^"]|"")*"|'(?:[^']|'')*'|(\$\w*\$)[^]*?\1|;|[^]/g,
  ) ?? [];
  const statements = [""];
  for (const part of parts) {
    if (part === ";") statements.push("");
    else if (!part.startsWith("--")) statements[statements.length - 1] += part;
  }
  return statements.map((each) => each.trim()).filter((each) => each !== "");
}

/**
 * Checks a schema name: 1 to 63 bytes of UTF-8 without a zero character.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `bad_schema_name`.
 */
export function assertSchemaName(schema: string): void {
  assertName("schema", schema);
}

/**
 * Checks the name of a role in the same way.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `bad_role_name`.
 */
export function assertRoleName(role: string): void {
  assertName("role", role);
}

function assertName(kind: "schema" | "role", name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (
    bytes >= 1 && bytes <= MAX_NAME_BYTES && name.isWellFormed() &&
    !name.includes("\0")
  ) return;
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message: `A ${kind} name must have 1 to ${MAX_NAME_BYTES} bytes and no ` +
      `zero character, received ${bytes} bytes, ${quoted(name)}`,
    details: { reason: `bad_${kind}_name`, [kind]: printable(name, 64), bytes },
  });
}
