/**
 * Decides whether a store can be moved, before anything changes. Citus would
 * refuse most of these moves too, but later, a table at a time, and without
 * advice. It would silently leave behind any table that it does not know.
 */

import { bind } from "../../database/statement.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import { quoted } from "../../storage/foreign_text.ts";
import {
  type Cluster,
  type ClusterNode,
  type GroupedStore,
  type Queries,
  readCluster,
  workerName,
} from "./cluster.ts";
import { selectSchemaExists, selectUnmovable } from "./cluster_sql.ts";

/**
 * How a store is moved. `logical`: its rows are copied while it is used, and
 * writes wait only at the end. `block-writes`: all writes wait, and the tables
 * need no replica identity.
 */
export type MoveMode = "logical" | "block-writes";

/** A possible move. */
export interface MovePlan {
  schema: string;
  mode: MoveMode;
  from: ClusterNode;
  to: ClusterNode;
  /**
   * Bytes of the store's tables and indexes; null if its worker node was not
   * reached.
   */
  bytes: bigint | null;
}

/** The wanted move: store, worker node and mode. */
export interface MoveWish {
  schema: string;
  /**
   * The worker node, as `HOST:PORT`; the host alone if it has only one worker
   * node.
   */
  to: string;
  mode: MoveMode;
}

/**
 * Finds the wanted move.
 *
 * @throws {StreamStorageError} BAD_CONFIG, FAILED_PRECONDITION: why the move is
 *   impossible.
 */
export async function planMove(
  queries: Queries,
  { schema, to, mode }: MoveWish,
): Promise<MovePlan> {
  const cluster = await readCluster(queries);
  if (cluster === undefined) {
    throw refusal("not_a_cluster", {
      message: "Expected a Citus cluster, found a plain server: its stores " +
        "can't be moved, copy one to another server instead",
    });
  }
  refuseWorker(cluster);
  const target = targetOf(cluster, to);
  const store = cluster.stores.find((each) => each.schema === schema) ??
    await refuseSchema(queries, schema);
  const from = cluster.nodes.find(({ group }) => group === store.group);
  if (from === undefined) {
    throw refusal("worker_unknown", {
      message:
        `Schema ${quoted(schema)} is on a server that the cluster does ` +
        "not list",
    });
  }
  if (from.group === target.group) {
    throw refusal("already_there", {
      code: "FAILED_PRECONDITION",
      message: `Schema ${quoted(schema)} is on ${workerName(target)} already`,
      details: { schema, worker: workerName(target) },
    });
  }
  await refuseTables(queries, { schema, mode });
  return { schema, mode, from, to: target, bytes: store.bytes };
}

/** Refuses a worker node, because only the coordinator can move a store. */
function refuseWorker({ nodes }: Cluster): void {
  if (nodes.some(({ isHere, group }) => isHere && group === 0)) return;
  const coordinator = nodes.find(({ group }) => group === 0);
  const where = coordinator === undefined ? "" : ` ${workerName(coordinator)}`;
  throw refusal("not_the_coordinator", {
    message: `Expected the cluster's coordinator${where}, found a worker node`,
  });
}

function targetOf({ nodes }: Cluster, to: string): ClusterNode {
  const named = nodes.filter((node) => workerName(node) === to);
  const found = named.length > 0
    ? named
    : nodes.filter(({ host, group }) => host === to && group > 0);
  const [target, ...others] = found;
  const workers = nodes.filter(({ group }) => group > 0).map(workerName);
  if (target === undefined || others.length > 0) {
    throw refusal("unknown_worker", {
      message:
        `Expected a worker node as HOST:PORT, found ${
          found.length === 0 ? "no" : found.length
        } such worker nodes; the cluster has ${
          workers.slice(0, 8).join(", ")
        }` +
        (workers.length > 8 ? " and others" : ""),
      details: { workers },
    });
  }
  const worker = workerName(target);
  if (!target.isActive) {
    throw refusal("worker_not_active", {
      code: "FAILED_PRECONDITION",
      message:
        `Worker node ${worker} is not active: the cluster does not use ` +
        "it, see citus_activate_node",
      details: { worker },
    });
  }
  if (!target.takesStores) {
    throw refusal("worker_takes_no_stores", {
      code: "FAILED_PRECONDITION",
      message: `Worker node ${worker} takes no stores: its property ` +
        "shouldhaveshards is false, see citus_set_node_property",
      details: { worker },
    });
  }
  return target;
}

async function refuseSchema(
  queries: Queries,
  schema: string,
): Promise<GroupedStore> {
  const [{ rows: [exists] }] = await queries.run([
    bind(selectSchemaExists, schema),
  ]);
  const [reason, message] = exists?.[0]
    ? [
      "schema_not_distributed",
      `Schema ${quoted(schema)} is not a distributed store: it lives on the ` +
      "coordinator itself",
    ]
    : ["schema_not_found", `Schema ${quoted(schema)} does not exist`];
  throw refusal(reason, { message, details: { schema } });
}

async function refuseTables(
  queries: Queries,
  { schema, mode }: Pick<MoveWish, "schema" | "mode">,
): Promise<void> {
  const [{ rows }] = await queries.run([bind(selectUnmovable, schema)]);
  const local = rows.flatMap(([name, isLocal]) => isLocal ? [name] : []);
  if (local.length > 0) {
    throw refusal("local_tables", {
      code: "FAILED_PRECONDITION",
      message:
        `${named(local)} would stay on the coordinator: it was made in a ` +
        "function or a DO block, so Citus does not know it; see doctor",
      details: { schema, tables: local.slice(0, maxNamed) },
    });
  }
  const unnamed = rows.flatMap(([name, _, isUnnamed]) =>
    isUnnamed ? [name] : []
  );
  if (mode === "logical" && unnamed.length > 0) {
    throw refusal("no_replica_identity", {
      code: "FAILED_PRECONDITION",
      message:
        `${named(unnamed)} has no primary key and no replica identity: ` +
        "migrate up gives it one, or move with block-writes",
      details: { schema, tables: unnamed.slice(0, maxNamed) },
    });
  }
}

/** The most tables that an error names; a store has thousands. */
const maxNamed = 5;

function named(tables: readonly string[]): string {
  const shown = tables.slice(0, maxNamed).map((name) => quoted(name)).join(
    ", ",
  );
  const more = tables.length - maxNamed;
  return `Table ${shown}${more > 0 ? ` and ${more} more` : ""}`;
}

function refusal(
  reason: string,
  { code = "BAD_CONFIG", message, details }: {
    code?: "BAD_CONFIG" | "FAILED_PRECONDITION";
    message: string;
    details?: Record<string, unknown>;
  },
): StreamStorageError {
  return new StreamStorageError({
    code,
    message,
    details: { reason, ...details },
  });
}
