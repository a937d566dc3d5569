/**
 * Names and texts inside SQL. The simple query protocol has no parameters, so
 * what comes from outside is checked and quoted here.
 */

import { StreamStorageError } from "../../storage/errors.ts";

/** PostgreSQL cuts longer names silently (NAMEDATALEN - 1). */
const MAX_NAME_BYTES = 63;

/** The name as an identifier in SQL: in double quotes, case kept. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The text as a literal in SQL, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`;
  return quoted.includes("\\") ? ` E${quoted}` : quoted;
}

/**
 * Checks a schema name: 1 to 63 bytes of UTF-8 without a zero character.
 *
 * @throws {StreamStorageError} `BAD_CONFIG`, reason `bad_schema_name`.
 */
export function assertSchemaName(schema: string): void {
  const bytes = new TextEncoder().encode(schema).length;
  if (
    bytes >= 1 && bytes <= MAX_NAME_BYTES && schema.isWellFormed() &&
    !schema.includes("\0")
  ) return;
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message: `A schema name must have 1 to ${MAX_NAME_BYTES} bytes and no ` +
      `zero character, received ${JSON.stringify(schema)} of ${bytes} bytes`,
    details: { reason: "bad_schema_name", schema, bytes },
  });
}
