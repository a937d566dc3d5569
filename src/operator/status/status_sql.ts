/** The queries of `storeStatus`. */

import { quoteIdentifier } from "../../database/migrations/mod.ts";
import { statement } from "../../database/statement.ts";

const isoTime = (expression: string) =>
  `pg_catalog.to_char(${expression} AT TIME ZONE 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

/**
 * A lock of another session must not block an operator who looks for the fault.
 */
export const setLockTimeout = statement({
  text: "SELECT pg_catalog.set_config('lock_timeout', '1000', true)",
  columns: ["text"],
  once: true,
});

/**
 * Version, database, whether it is a standby, start, connections and their
 * limit.
 */
export const selectServer = statement({
  text: `SELECT pg_catalog.current_setting('server_version'),
      pg_catalog.current_database()::pg_catalog.text,
      pg_catalog.pg_is_in_recovery(),
      ${isoTime("pg_catalog.pg_postmaster_start_time()")},
      pg_catalog.current_setting('max_connections')::pg_catalog.int8,
      (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend'::pg_catalog.text),
      pg_catalog.pg_database_size(pg_catalog.current_database())`,
  columns: ["text", "text", "bool", "text", "int8", "int8", "int8"],
  once: true,
});

/**
 * Other sessions of this database by role, application and state; without
 * pg_read_all_stats the server hides the details of other roles' sessions.
 */
export const selectSessions = statement({
  text: `SELECT usename::pg_catalog.text, application_name, state,
      pg_catalog.count(*)
    FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database()
      AND pid <> pg_catalog.pg_backend_pid()
      AND backend_type = 'client backend'::pg_catalog.text
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT 50`,
  columns: ["text?", "text?", "text?", "int8"],
  once: true,
});

/** The transaction that has been open longest. */
export const selectLongestTransaction = statement({
  text: `SELECT pid, usename::pg_catalog.text, application_name, state,
      pg_catalog.date_part('epoch'::pg_catalog.text,
        pg_catalog.clock_timestamp() - xact_start)
    FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database() AND xact_start IS NOT NULL
      AND pid <> pg_catalog.pg_backend_pid()
      AND backend_type = 'client backend'::pg_catalog.text
    ORDER BY xact_start LIMIT 1`,
  columns: ["int4", "text?", "text?", "text?", "float8"],
  once: true,
});

/** The tables of the schema that this role may read. */
export const selectReadableTables = statement({
  text: `SELECT c.relname::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
      AND c.relname::pg_catalog.text = ANY (ARRAY['es', 'singlenodekey'])
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT')`,
  params: ["text"],
  columns: ["text"],
  once: true,
});

/**
 * Streams by the two digits of their type, by ephemeral or not, and by
 * location.
 */
export const selectStreamKinds = (schema: string, nodeVersion: number) =>
  statement({
    text: `SELECT pg_catalog.left(stream_id, 2), ${
      nodeVersion >= 7 ? "ephemeral" : "false"
    }, ${
      nodeVersion >= 9
        ? "blockdata_ext::pg_catalog.text"
        : "'D'::pg_catalog.text"
    }, pg_catalog.count(*)
      FROM ${quoteIdentifier(schema)}.es GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
    columns: ["text", "bool", "text", "int8"],
    once: true,
  });

/** A table's family: its name without the partition, and a shard's number. */
const family = (name: string) =>
  `pg_catalog.regexp_replace(${name}, '_[rm][0-9a-f]{2}$'::pg_catalog.text,
    ''::pg_catalog.text)`;

const blockSize = "pg_catalog.current_setting('block_size')::pg_catalog.int8";

/**
 * Bytes of a table with its TOAST, and of its indexes, from the sizes of the
 * files.
 */
const exactBytes =
  `pg_catalog.pg_table_size(c.oid::pg_catalog.regclass) AS heap,
  pg_catalog.pg_indexes_size(c.oid::pg_catalog.regclass) AS indexes`;

/** The same bytes as the catalogue estimates them, which waits for no lock. */
const estimatedBytes = `${blockSize} * (c.relpages::pg_catalog.int8
    + coalesce(t.relpages::pg_catalog.int8, 0::pg_catalog.int8)) AS heap,
  ${blockSize} * coalesce((SELECT pg_catalog.sum(x.relpages::pg_catalog.int8)
      ::pg_catalog.int8
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid), 0::pg_catalog.int8) AS indexes`;

/**
 * The families of tables of schema $1: tables, bytes of tables and of indexes,
 * live and dead rows, the oldest of the last vacuums and analyses.
 */
const selectFamilies = (bytes: string) =>
  statement({
    text:
      `SELECT family, pg_catalog.count(*), pg_catalog.sum(heap)::pg_catalog.int8,
        pg_catalog.sum(indexes)::pg_catalog.int8,
        pg_catalog.sum(live)::pg_catalog.int8,
        pg_catalog.sum(dead)::pg_catalog.int8,
        ${isoTime("pg_catalog.max(vacuumed)")},
        pg_catalog.count(vacuumed)
      FROM (SELECT ${family("c.relname::pg_catalog.text")} AS family, ${bytes},
          greatest(coalesce(s.n_live_tup, 0), 0) AS live,
          greatest(coalesce(s.n_dead_tup, 0), 0) AS dead,
          greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed
        FROM pg_catalog.pg_namespace AS n
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
        LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
        LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
        WHERE n.nspname = $1 AND c.relkind = 'r') AS its
      GROUP BY family ORDER BY 3 DESC, 1`,
    params: ["text"],
    columns: ["text", "int8", "int8", "int8", "int8", "int8", "text?", "int8"],
    once: true,
  });

/** See {@linkcode selectFamilies}. */
export const selectExactFamilies = selectFamilies(exactBytes);
/** See {@linkcode selectFamilies}. */
export const selectEstimatedFamilies = selectFamilies(estimatedBytes);

/**
 * The same query for a store on a worker node of a cluster, with its result as
 * text in one column, to be sent there by another server. Sessions on the
 * worker node see the shards. %L is the schema.
 */
export const shardFamilies =
  `SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
    family, tables, heap, indexes, live, dead, last, vacuumed))
  FROM (SELECT family, pg_catalog.count(*)::pg_catalog.text AS tables,
      pg_catalog.sum(heap)::pg_catalog.text AS heap,
      pg_catalog.sum(indexes)::pg_catalog.text AS indexes,
      pg_catalog.sum(live)::pg_catalog.text AS live,
      pg_catalog.sum(dead)::pg_catalog.text AS dead,
      ${isoTime("pg_catalog.max(vacuumed)")} AS last,
      pg_catalog.count(vacuumed)::pg_catalog.text AS vacuumed
    FROM (SELECT ${
    family(`pg_catalog.regexp_replace(c.relname::pg_catalog.text,
          '_[0-9]+$'::pg_catalog.text, ''::pg_catalog.text)`)
  } AS family, ${exactBytes},
        greatest(s.n_live_tup, 0) AS live, greatest(s.n_dead_tup, 0) AS dead,
        greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed
      FROM pg_catalog.pg_namespace AS n
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
      JOIN pg_catalog.pg_dist_shard AS d
        ON d.shardid::pg_catalog.text = pg_catalog.substring(
          c.relname::pg_catalog.text, '_([0-9]+)$'::pg_catalog.text)
      LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
      WHERE n.nspname = %L AND c.relkind = 'r') AS its
    GROUP BY family ORDER BY pg_catalog.sum(heap) DESC, family) AS families`;

/**
 * Sends the query $1, with $2 in it, to the worker node $3, $4. There is no row
 * if the worker node can't be reached.
 */
export const askWorker = statement({
  text: `SELECT result FROM pg_catalog.run_command_on_workers(
      pg_catalog.format($1, $2))
    WHERE nodename = $3 AND nodeport = $4 AND success`,
  params: ["text", "text", "text", "int4"],
  columns: ["text?"],
  once: true,
});
