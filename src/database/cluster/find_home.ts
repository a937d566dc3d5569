/**
 * Asks where a schema lives in a Citus cluster. All servers have the same
 * catalogue (pg_dist_*), so any of them can answer, while others are away.
 */

import type { Address } from "../current_server.ts";
import type { Session } from "../session.ts";
import { bind, statement } from "../statement.ts";

/** What one server of a cluster reports about a schema. */
export interface ReportedHome {
  /** The server that has the schema, by the name that the servers use. */
  address: Address;
  /** Whether it is the server that was asked. */
  isHere: boolean;
  /** The number of each table's only shard, by the name of the table. */
  shards: ReadonlyMap<string, bigint>;
}

/** A server of the cluster. */
export interface ClusterNode extends Address {
  isCoordinator: boolean;
}

/** Whether the database has Citus; part of the first flush of an opening. */
export const selectHasCitus = statement({
  text:
    `SELECT pg_catalog.to_regclass('pg_catalog.pg_dist_schema') IS NOT NULL`,
  columns: ["bool"],
  once: true,
});

/**
 * The tables of schema $1, or only its table $2, with the server that has them.
 */
const selectShards = statement({
  text: `SELECT node.nodename::pg_catalog.text, node.nodeport,
      node.groupid = here.groupid, shard.shardid, class.relname::pg_catalog.text
    FROM pg_catalog.pg_dist_schema AS distributed
    JOIN pg_catalog.pg_class AS class
      ON class.relnamespace = distributed.schemaid::pg_catalog.oid
    JOIN pg_catalog.pg_dist_shard AS shard
      ON shard.logicalrelid::pg_catalog.oid = class.oid
    JOIN pg_catalog.pg_dist_placement AS placement
      ON placement.shardid = shard.shardid AND placement.shardstate = 1
    JOIN pg_catalog.pg_dist_node AS node ON node.groupid = placement.groupid
      AND node.noderole::pg_catalog.text = 'primary'
    CROSS JOIN pg_catalog.pg_dist_local_group AS here
    WHERE distributed.schemaid::pg_catalog.oid = (
        SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
      AND ($2 IS NULL OR class.relname = $2)`,
  params: ["text", "text?"],
  columns: ["text", "int4", "bool", "int8", "text"],
  once: true,
});

const selectNodes = statement({
  text: `SELECT nodename::pg_catalog.text, nodeport, groupid = 0
    FROM pg_catalog.pg_dist_node
    WHERE noderole::pg_catalog.text = 'primary' AND isactive
    ORDER BY groupid`,
  columns: ["text", "int4", "bool"],
  once: true,
});

/**
 * Asks a server of a cluster where the schema is; undefined if it is not
 * distributed. With `table`, the report covers only that table.
 */
export async function askHome(
  session: Session,
  schema: string,
  table: string | null = null,
): Promise<ReportedHome | undefined> {
  const [{ rows }] = await session.run([bind(selectShards, schema, table)]);
  const [first] = rows;
  if (first === undefined) return undefined;
  const [host, port, isHere] = first;
  const shards = new Map(rows.map(([, , , shard, name]) => [name, shard]));
  return { address: { host, port }, isHere, shards };
}

/** The servers of the cluster; one of them is asked when the home is lost. */
export async function askNodes(session: Session): Promise<ClusterNode[]> {
  const [{ rows }] = await session.run([bind(selectNodes)]);
  return rows.map(([host, port, isCoordinator]) => ({
    host,
    port,
    isCoordinator,
  }));
}
