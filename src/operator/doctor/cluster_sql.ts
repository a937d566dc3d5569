/**
 * Queries for a server of a Citus cluster; a plain server lacks these tables.
 */

import { localTablesSql } from "../../database/migrations/cluster.ts";
import { statement } from "../../database/statement.ts";

/**
 * Whether the server is the coordinator, whether new schemas are distributed, and
 * whether a move can copy while a schema is written.
 */
export const selectCluster = statement({
  text: `SELECT groupid = 0,
      pg_catalog.current_setting('citus.enable_schema_based_sharding')::boolean,
      pg_catalog.current_setting('wal_level')
    FROM pg_catalog.pg_dist_local_group`,
  columns: ["bool", "bool", "text"],
  once: true,
});

/**
 * The servers of the cluster: name, port, whether the server is the
 * coordinator, whether its copy of the catalogue is up to date, and whether it
 * may get schemas.
 */
export const selectServers = statement({
  text: `SELECT nodename::pg_catalog.text, nodeport, groupid = 0,
      hasmetadata AND metadatasynced, shouldhaveshards
    FROM pg_catalog.pg_dist_node
    WHERE isactive AND noderole::pg_catalog.text = 'primary'
    ORDER BY groupid`,
  columns: ["text", "int4", "bool", "bool", "bool"],
  once: true,
});

/** Tables of the distributed schema $1 that stayed on this server. */
export const selectLocalTables = statement({
  text: localTablesSql("$1"),
  params: ["text"],
  columns: ["text"],
  once: true,
});

/**
 * Tables of schema $1 without a replica identity, whose changes a move can't
 * follow.
 */
export const selectUnnamedTables = statement({
  text: `SELECT c.relname::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
      AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisprimary)))
    ORDER BY 1`,
  params: ["text"],
  columns: ["text"],
  once: true,
});

/**
 * Whether the function that notifies the owners of schema $1 of each other
 * names the table that has fired it, which is a shard. Without such a function
 * there is no row.
 */
export const selectNotifier = statement({
  text: `SELECT p.prosrc ~ 'TG_TABLE_NAME'::pg_catalog.text
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid
    WHERE n.nspname = $1 AND p.proname = 'notify_on_upsert'`,
  params: ["text"],
  columns: ["bool"],
  once: true,
});

/** Lets the session see shards beside the tables that they belong to. */
export const showShards = statement({
  text: `SELECT pg_catalog.set_config(
    'citus.override_table_visibility', 'off', true)`,
  columns: ["text"],
  once: true,
});
