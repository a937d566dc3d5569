/** The queries of each look. */

import { statement } from "../../database/statement.ts";
import type { StreamTables } from "../../postgres/catalog.ts";

/**
 * Version, whether a standby, client connections and their limit. For this
 * database, since its statistics began: commits, rollbacks, pages from memory
 * and pages from disk.
 */
export const selectDatabase = statement({
  text: `SELECT pg_catalog.current_setting('server_version'),
      pg_catalog.pg_is_in_recovery(),
      (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend'::pg_catalog.text),
      pg_catalog.current_setting('max_connections')::pg_catalog.int8,
      d.xact_commit, d.xact_rollback, d.blks_hit, d.blks_read
    FROM pg_catalog.pg_stat_database AS d
    WHERE d.datname = pg_catalog.current_database()`,
  columns: ["text", "bool", "int8", "int8", "int8", "int8", "int8", "int8"],
  once: true,
});

/**
 * Rows written and read so far, by partition of schema $1; the empty partition
 * stands for other tables. In a cluster, a table's name ends with the number of
 * its shard.
 */
export const selectPartitions = statement({
  text: `SELECT coalesce(pg_catalog.substring(s.relname::pg_catalog.text,
        '_([rm][0-9a-f]{2})(?:_[0-9]+)?$'::pg_catalog.text), ''::pg_catalog.text),
      pg_catalog.sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)
        ::pg_catalog.int8,
      pg_catalog.sum(coalesce(s.seq_tup_read, 0::pg_catalog.int8)
        + coalesce(s.idx_tup_fetch, 0::pg_catalog.int8))::pg_catalog.int8
    FROM pg_catalog.pg_stat_all_tables AS s
    WHERE s.schemaname = $1 GROUP BY 1`,
  params: ["text"],
  columns: ["text", "int8", "int8"],
  once: true,
});

/** Sessions of this database by state and by what they wait for, without ours. */
export const selectActivity = statement({
  text: `SELECT coalesce(state, 'not shown'::pg_catalog.text),
      CASE WHEN state <> 'idle'::pg_catalog.text THEN
        coalesce(wait_event_type || ':'::pg_catalog.text || wait_event,
          'running'::pg_catalog.text) END,
      pg_catalog.count(*),
      pg_catalog.max(pg_catalog.date_part('epoch'::pg_catalog.text,
        pg_catalog.clock_timestamp() - xact_start))
    FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database()
      AND pid <> pg_catalog.pg_backend_pid()
      AND backend_type = 'client backend'::pg_catalog.text
    GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 200`,
  columns: ["text", "text?", "int8", "float8?"],
  once: true,
});

/** The most rows of a partition's minipools that are read at each look. */
const maxMinipoolRows = 200_000;

/**
 * The position of each stream of a partition: its generation and its last slot
 * there. There is no row if the minipools, the table $1, are too long.
 */
export function selectMinipools({ minipools }: StreamTables) {
  return statement({
    text: `SELECT stream_id, pg_catalog.max(generation),
        pg_catalog.max(slot_num) FROM ${minipools}
      WHERE (SELECT s.n_live_tup + s.n_dead_tup
          FROM pg_catalog.pg_stat_all_tables AS s
          WHERE s.relid = pg_catalog.to_regclass($1)::pg_catalog.oid)
        < ${maxMinipoolRows}
      GROUP BY stream_id LIMIT 20000`,
    params: ["text"],
    columns: ["bpchar", "int8", "int8"],
    once: true,
  });
}
