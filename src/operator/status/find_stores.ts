/** Finds the stores of a database. */

import type { Session } from "../../database/session.ts";
import { bind, statement } from "../../database/statement.ts";
import { type ServerOptions, withSession } from "../session.ts";

/** A schema that looks like a store. */
export interface FoundStore {
  /** The schema's name. */
  schema: string;
  /**
   * The server's estimate of the number of streams; null before its first
   * analysis.
   */
  streams: number | null;
  /** The server's estimate of the bytes of tables and indexes. */
  bytes: bigint;
}

/**
 * A store has all tables of the first version; no other program's schema has
 * all of them.
 */
const selectStores = statement({
  text: `SELECT n.nspname::pg_catalog.text,
      pg_catalog.max(CASE WHEN c.relname = 'es'
        THEN c.reltuples::pg_catalog.float8 END),
      (pg_catalog.sum(c.relpages::pg_catalog.int8 + coalesce((
          SELECT pg_catalog.sum(x.relpages::pg_catalog.int8)::pg_catalog.int8
          FROM pg_catalog.pg_index AS i
          JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
          WHERE i.indrelid = c.oid OR i.indrelid = c.reltoastrelid),
          0::pg_catalog.int8)
        + coalesce((SELECT t.relpages::pg_catalog.int8
          FROM pg_catalog.pg_class AS t WHERE t.oid = c.reltoastrelid),
          0::pg_catalog.int8))
        * pg_catalog.current_setting('block_size')::pg_catalog.numeric
      )::pg_catalog.int8
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE c.relkind IN ('r', 'p')
    GROUP BY n.nspname
    HAVING pg_catalog.bool_or(c.relname = 'es')
      AND pg_catalog.bool_or(c.relname = 'singlenodekey')
      AND pg_catalog.bool_or(c.relname = 'schema_migrations')
      AND pg_catalog.bool_or(c.relname::pg_catalog.text
        ~ '^miniblocks_[rm][0-9a-f]{2}$'::pg_catalog.text)
    ORDER BY 1`,
  columns: ["text", "float8?", "int8"],
  once: true,
});

/**
 * Returns the schemas of a database that look like stores, ours and those of
 * nodes, in the order of their names. It reads only the catalogue, so it needs
 * no rights.
 *
 * ```ts
 * import { findStores } from "@towns/stream-storage/operator";
 *
 * for (const { schema, streams } of await findStores({ url })) {
 *   console.log(schema, streams);
 * }
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function findStores(
  options: ServerOptions,
): Promise<FoundStore[]> {
  return await withSession("findStores", options, storesOf);
}

/** Does the work of `findStores` on an open session. */
export async function storesOf(
  session: Pick<Session, "run">,
): Promise<FoundStore[]> {
  const [{ rows }] = await session.run([bind(selectStores)]);
  return rows.map(([schema, streams, bytes]) => ({
    schema,
    // -1: the table was never analysed.
    streams: streams === null || streams < 0 ? null : Math.round(streams),
    bytes,
  }));
}
