/**
 * Queries of a Citus cluster's own tables, which a plain server does not have.
 */

import { statement } from "../../database/statement.ts";

/**
 * Whether the database belongs to a cluster. Works on any server, for any role.
 */
export const selectIsCluster = statement({
  text:
    `SELECT pg_catalog.to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL`,
  columns: ["bool"],
  once: true,
});

/** A group is a server and its standbys; group 0 is the coordinator's. */
export const selectNodes = statement({
  text:
    `SELECT n.groupid, n.nodename, n.nodeport, n.isactive, n.shouldhaveshards,
      n.groupid = l.groupid
    FROM pg_catalog.pg_dist_node AS n, pg_catalog.pg_dist_local_group AS l
    WHERE n.noderole = 'primary' ORDER BY n.groupid`,
  columns: ["int4", "text", "int4", "bool", "bool", "bool"],
  once: true,
});

/**
 * The stores of the cluster: schema, the group that has it, the number of its
 * tables there, and their bytes. Citus asks all worker nodes for sizes; one
 * that is down yields null.
 */
export const selectPlacements = statement({
  text: `SELECT n.nspname::pg_catalog.text, p.groupid, pg_catalog.count(*),
      pg_catalog.sum(z.size)::pg_catalog.int8
    FROM pg_catalog.pg_dist_schema AS d
    JOIN pg_catalog.pg_namespace AS n
      ON n.oid = d.schemaid::pg_catalog.oid
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_catalog.pg_dist_shard AS s
      ON s.logicalrelid::pg_catalog.oid = c.oid
    JOIN pg_catalog.pg_dist_placement AS p ON p.shardid = s.shardid
    LEFT JOIN (SELECT shard_id, pg_catalog.max(size) AS size
      FROM pg_catalog.citus_shard_sizes() GROUP BY shard_id) AS z
      ON z.shard_id::pg_catalog.int8 = s.shardid
    GROUP BY n.nspname, p.groupid
    HAVING pg_catalog.bool_or(c.relname = 'singlenodekey')
      AND pg_catalog.bool_or(c.relname = 'es')
    ORDER BY 1, 2`,
  columns: ["text", "int4", "int8", "int8?"],
  once: true,
});

/**
 * The tables of schema $1, and what keeps each from being moved: Citus does not
 * know it, so it would stay behind; it has neither a primary key nor a replica
 * identity, so logical replication can't name its rows.
 */
export const selectUnmovable = statement({
  text: `SELECT c.relname::pg_catalog.text, NOT EXISTS (
        SELECT FROM pg_catalog.pg_dist_partition AS p
        WHERE p.logicalrelid::pg_catalog.oid = c.oid),
      c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1`,
  params: ["text"],
  columns: ["text", "bool", "bool"],
  once: true,
});

/** Whether there is a schema $1. */
export const selectSchemaExists = statement({
  text:
    `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)`,
  params: ["text"],
  columns: ["bool"],
  once: true,
});

/**
 * Moves schema $1 to the worker node $2, $3 in mode $4, and returns when it is
 * there.
 */
export const moveSchema = statement({
  text: `SELECT pg_catalog.citus_schema_move(
      (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
        ::pg_catalog.regnamespace, $2, $3,
      $4::pg_catalog.text::citus.shard_transfer_mode)::pg_catalog.text`,
  params: ["text", "text", "int4", "text"],
  columns: ["text"],
  once: true,
});

/**
 * The progress of the move of schema $1: bytes on the old worker node, bytes on
 * the new one, and the present step in Citus's words.
 */
export const selectMoveProgress = statement({
  text: `SELECT pg_catalog.sum(p.source_shard_size)::pg_catalog.int8,
      pg_catalog.sum(p.target_shard_size)::pg_catalog.int8,
      pg_catalog.min(p.status)
    FROM pg_catalog.get_rebalance_progress() AS p
    JOIN pg_catalog.pg_class AS c
      ON c.oid = p.table_name::pg_catalog.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1`,
  params: ["text"],
  columns: ["int8?", "int8?", "text?"],
  once: true,
});
