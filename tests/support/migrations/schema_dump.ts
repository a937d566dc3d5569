/** A schema's definition as text, read from the catalog. */
import type { MigrationConnection } from "../../../src/database/migrations/mod.ts";
import { quoteLiteral } from "../../../src/database/migrations/sql_text.ts";

/**
 * A line for each table, column, constraint, index, trigger and function, sorted
 * by table. It is the same on every PostgreSQL since 15. It leaves out the
 * schema's name, which must need no quotes.
 */
export async function dumpSchema(
  connection: MigrationConnection,
  schema: string,
): Promise<string[]> {
  const rows = await connection.script(dumpSql(quoteLiteral(schema)));
  return rows.map(([line]) => line!.replaceAll(`${schema}.`, ""));
}

// NOT NULL is shown with the column, because only newer servers have it as a
// constraint.
const dumpSql = (schema: string) =>
  `WITH relations AS (
  SELECT c.oid, c.relname, c.relkind, c.reloptions, c.relreplident
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = ${schema} AND c.relkind NOT IN ('i', 't')
), lines AS (
  SELECT relname AS at, 0 AS part, 0 AS nth,
    'relation ' || relname || ' kind ' || relkind::text
      || coalesce(' with ' || array_to_string(reloptions, ', '), '')
      || CASE relreplident WHEN 'f' THEN ' replica identity full' ELSE '' END
      AS line
    FROM relations
  UNION ALL
  SELECT r.relname, 1,
    -- Ours last: later columns of the nodes may come before it, or behind it.
    a.attnum + CASE WHEN starts_with(a.attname, 'stream_storage_')
      THEN 1000 ELSE 0 END,
    '  column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ||
    CASE WHEN a.attnotnull THEN ' not null' ELSE ' null' END ||
    ' storage ' || a.attstorage::text ||
    coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  FROM relations r
  JOIN pg_attribute a ON a.attrelid = r.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT r.relname, 2, 0,
    '  constraint ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
  FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid
  WHERE c.contype <> 'n'
  UNION ALL
  SELECT r.relname, 3, 0, '  index ' || pg_get_indexdef(i.indexrelid)
  FROM relations r JOIN pg_index i ON i.indrelid = r.oid
  UNION ALL
  SELECT r.relname, 4, 0, '  trigger ' || pg_get_triggerdef(t.oid)
  FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid
  UNION ALL
  SELECT '~functions', 5, 0, 'function ' || p.proname || ' language ' ||
    l.lanname || ' body ' || regexp_replace(p.prosrc, '\\s+', ' ', 'g')
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang
  WHERE n.nspname = ${schema}
)
SELECT line FROM lines
ORDER BY at COLLATE "C", part, nth, line COLLATE "C"`;
