import type { Session } from "../../src/database/session.ts";

/**
 * Every row of every table of a schema, with its place and with the transactions
 * that last wrote and locked it, which no content shows.
 */
export async function storedRows(
  session: Session,
  schema: string,
): Promise<string[]> {
  const tables = await session.script(
    `SELECT c.oid::regclass::text FROM pg_class c
     WHERE c.relnamespace = to_regnamespace('"${schema}"') AND c.relkind = 'r'
     ORDER BY 1`,
  );
  const rows: string[] = [];
  for (const [table] of tables) {
    const found = await session.script(
      `SELECT t.ctid || ' ' || t.xmin || ' ' || t.xmax || ' ' || t::text
       FROM ${table} t ORDER BY t.ctid`,
    );
    rows.push(...found.map(([row]) => `${table} ${row}`));
  }
  return rows;
}
