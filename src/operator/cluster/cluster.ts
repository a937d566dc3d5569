/** Reads which servers a Citus cluster has, and which store lives on which. */

import type { Session } from "../../database/session.ts";
import { bind } from "../../database/statement.ts";
import { type ServerOptions, withSession } from "../session.ts";
import {
  selectIsCluster,
  selectNodes,
  selectPlacements,
} from "./cluster_sql.ts";
import type {
  ClusterStatus,
  ClusterWorker,
  StorePlacement,
  WorkerPlace,
} from "./types.ts";

/** A session's queries, the only part of it that is needed here. */
export type Queries = Pick<Session, "run">;

/** A server of the cluster, as Citus's tables list it. */
export interface ClusterNode extends WorkerPlace {
  /** The server's group; 0 is the coordinator's. */
  group: number;
  isActive: boolean;
  takesStores: boolean;
  /** Whether this is the connected server. */
  isHere: boolean;
}

/** A store of the cluster. */
export interface GroupedStore {
  schema: string;
  /** The group of the server that has the store. */
  group: number;
  tables: bigint;
  bytes: bigint | null;
}

/** A cluster, at one moment. */
export interface Cluster {
  nodes: ClusterNode[];
  stores: GroupedStore[];
}

/** Reads the cluster; undefined on a plain server. */
export async function readCluster(
  queries: Queries,
): Promise<Cluster | undefined> {
  const [{ rows: [is] }] = await queries.run([bind(selectIsCluster)]);
  if (!is?.[0]) return undefined;
  const [nodes, stores] = await queries.run([
    bind(selectNodes),
    bind(selectPlacements),
  ]);
  return {
    nodes: nodes.rows.map((
      [group, host, port, isActive, takesStores, isHere],
    ) => ({ group, host, port, isActive, takesStores, isHere })),
    stores: stores.rows.map(([schema, group, tables, bytes]) => ({
      schema,
      group,
      tables,
      bytes,
    })),
  };
}

/**
 * Where a store lives; null: it is not distributed, but on the connected
 * server.
 */
export function placementOf(
  { nodes, stores }: Cluster,
  schema: string,
): StorePlacement | null {
  const store = stores.find((each) => each.schema === schema);
  const node = nodes.find(({ group }) => group === store?.group);
  if (store === undefined || node === undefined) return null;
  const { host, port, isHere } = node;
  const { tables, bytes } = store;
  return { schema, host, port, tables, bytes, isHere };
}

/**
 * Returns the worker nodes of a Citus cluster and the stores on them; null on a
 * plain server. If a worker node can't be reached, its sizes are null.
 *
 * ```ts
 * import { clusterStatus } from "@towns/stream-storage/operator";
 *
 * const cluster = await clusterStatus({ url });
 * for (const { host, port, stores } of cluster?.workers ?? []) {
 *   console.log(host, port, stores);
 * }
 * ```
 *
 * @throws {StreamStorageError} as `openStreamReader`.
 */
export async function clusterStatus(
  options: ServerOptions,
): Promise<ClusterStatus | null> {
  return await withSession("clusterStatus", options, async (session) => {
    const cluster = await readCluster(session);
    if (cluster === undefined) return null;
    const stores = cluster.stores.flatMap(({ schema }) => {
      const placement = placementOf(cluster, schema);
      if (placement === null) return [];
      const { isHere: _, ...store } = placement;
      return [store];
    });
    return { workers: workersOf(cluster), stores };
  });
}

/** The servers that have stores or may get some. */
function workersOf(cluster: Cluster): ClusterWorker[] {
  return cluster.nodes.flatMap((node) => {
    const { group, host, port, isActive, takesStores } = node;
    const its = cluster.stores.filter((store) => store.group === group);
    if (group === 0 && !takesStores && its.length === 0) return [];
    const sizes = its.map(({ bytes }) => bytes);
    const bytes = sizes.includes(null)
      ? null
      : sizes.reduce<bigint>((sum, size) => sum + size!, 0n);
    const stores = BigInt(its.length);
    return [{ host, port, isActive, takesStores, stores, bytes }];
  });
}

/** A worker node's name, as people write it. */
export function workerName({ host, port }: WorkerPlace): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
