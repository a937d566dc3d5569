/** Queries to the server's catalogue about a schema's tables. */

import { statement } from "../../database/statement.ts";

/** The columns of schema $1: table, column, type, not null, storage. */
export const selectColumns = statement({
  text: `SELECT c.relname::pg_catalog.text, a.attname::pg_catalog.text,
      pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
      a.attstorage::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
      AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, a.attnum`,
  params: ["text"],
  columns: ["text", "text", "text", "bool", "text"],
  once: true,
});

/**
 * The valid indexes of schema $1: table, index, and for a primary key its
 * columns with commas. Then its triggers in the same way.
 */
export const selectIndexes = statement({
  text: `SELECT c.relname::pg_catalog.text, x.relname::pg_catalog.text,
      CASE WHEN i.indisprimary THEN (
        SELECT pg_catalog.string_agg(a.attname::pg_catalog.text, ','
            ORDER BY key.nth)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY
            AS key (attnum, nth)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
          AND a.attnum = key.attnum) END
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    WHERE n.nspname = $1 AND i.indisvalid
    UNION ALL
    SELECT c.relname::pg_catalog.text, t.tgname::pg_catalog.text, NULL
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid
    WHERE n.nspname = $1 AND NOT t.tgisinternal AND t.tgenabled <> 'D'`,
  params: ["text"],
  columns: ["text", "text", "text?"],
  once: true,
});

/** The tables of schema $1 that this role can read. */
export const selectReadable = statement({
  text: `SELECT c.relname::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')`,
  params: ["text"],
  columns: ["text"],
  once: true,
});

/** The version of our own track. */
export const selectOwnVersion = (table: string) =>
  statement({
    text: `SELECT coalesce(pg_catalog.max(version), 0) FROM ${table}`,
    columns: ["int8"],
    once: true,
  });
