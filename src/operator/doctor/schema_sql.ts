/** Queries about a store's schema. */

import { statement } from "../../database/statement.ts";

/** Indexes of schema $1 that the server does not use: table, index. */
export const selectInvalidIndexes = statement({
  text: `SELECT c.relname::pg_catalog.text, x.relname::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    WHERE n.nspname = $1 AND NOT (i.indisvalid AND i.indisready)
    ORDER BY 1, 2`,
  params: ["text"],
  columns: ["text", "text"],
  once: true,
});

/**
 * Tables that have at least $2 dead rows or are excluded from autovacuum:
 * table, live and dead rows, hours since the last vacuum, whether autovacuum is
 * on.
 */
export const selectDeadRows = statement({
  text: `SELECT * FROM (SELECT c.relname::pg_catalog.text AS name,
      s.n_live_tup AS live, s.n_dead_tup AS dead,
      pg_catalog.date_part('epoch'::pg_catalog.text,
        pg_catalog.now() - greatest(s.last_vacuum, s.last_autovacuum))
        AS seconds,
      NOT coalesce(c.reloptions::pg_catalog.text
        ~ 'autovacuum_enabled=(off|false|no|0)'::pg_catalog.text, false)
        AS is_vacuumed
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
    WHERE n.nspname = $1 AND c.relkind = 'r') AS its
    WHERE its.dead >= $2 OR NOT its.is_vacuumed
    ORDER BY its.dead DESC, its.name LIMIT 2000`,
  params: ["text", "int8"],
  columns: ["text", "int8", "int8", "float8?", "bool"],
  once: true,
});

/**
 * Tables of schema $1 that are in a publication but have no replica identity:
 * publication, table. The server refuses to change their rows.
 */
export const selectUnnamedRows = statement({
  text: `SELECT p.pubname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_publication AS p
    JOIN pg_catalog.pg_publication_tables AS t ON t.pubname = p.pubname
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
      AND c.relname = t.tablename
    WHERE n.nspname = $1 AND (p.pubupdate OR p.pubdelete)
      AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisprimary)))
    ORDER BY 1, 2`,
  params: ["text"],
  columns: ["text", "text"],
  once: true,
});

/** Whether our role may use schema $1. */
export const selectUsage = statement({
  text: `SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1`,
  params: ["text"],
  columns: ["bool"],
  once: true,
});

/** What our role may do with each table of schema $1. */
export const selectRights = statement({
  text: `SELECT c.relname::pg_catalog.text,
      pg_catalog.has_table_privilege(c.oid, 'SELECT'),
      pg_catalog.has_table_privilege(c.oid, 'INSERT')
        AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
        AND pg_catalog.has_table_privilege(c.oid, 'DELETE')
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
    ORDER BY 1`,
  params: ["text"],
  columns: ["text", "bool", "bool"],
  once: true,
});
