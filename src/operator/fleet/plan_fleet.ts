/**
 * Plans the servers for a fleet of stores, without connecting to any server.
 */

import { costs } from "./costs.ts";
import {
  type Fleet,
  type FleetDescription,
  readFleet,
  type StoreGroup,
} from "./description.ts";
import { type FilledServer, placeStores, type Room } from "./place_stores.ts";
import {
  type MoveTimes,
  moveTimes,
  type Needs,
  needsOf,
  noNeeds,
  plus,
  tablesAlone,
  tablesOf,
} from "./store_needs.ts";

/** A group of similar stores, and what each needs. */
export interface PlannedStore extends Needs, MoveTimes {
  /** The group's name, as in the description. */
  name: string;
  /** The number of stores. */
  count: number;
  /** The number of tables of each. */
  tables: number;
}

/** A server of the plan. */
export interface PlannedServer extends Needs {
  /** The number of stores on it. */
  stores: number;
}

/** A figure on which the plan rests. */
export interface FleetAssumption {
  /** A name for programs. */
  name: string;
  /** What the figure measures, with its unit. */
  what: string;
  /** The figure, or the points of a line: x, y. */
  value: unknown;
  /** How it was measured, or that it was chosen. */
  how: string;
}

/** The result of `planFleet`. Bytes and cores are averages, not peaks. */
export interface FleetPlan {
  /** Servers of their own, or a Citus cluster. */
  kind: "plain" | "cluster";
  /** The number of all servers, with the coordinator and all standbys. */
  servers: number;
  /**
   * The servers that hold stores, the fullest first. Each standby equals its
   * server.
   */
  workers: PlannedServer[];
  /** The coordinator of a cluster; null: there is no cluster. */
  coordinator: PlannedServer | null;
  /** What each store needs on its own server, and how long a move takes. */
  stores: PlannedStore[];
  /**
   * Seconds to move its share of the stores to one more worker node, one after
   * the other.
   */
  addWorkerSeconds: number | null;
  /** All assumptions of the plan. */
  assumptions: FleetAssumption[];
}

/**
 * Computes from measured costs how many servers a fleet of stores needs, and
 * what each has to hold.
 *
 * ```ts
 * import { planFleet } from "@towns/stream-storage/operator";
 *
 * const { servers, workers } = planFleet({
 *   stores: [{
 *     count: 100,
 *     partitions: 16,
 *     streams: 10_000,
 *     eventsPerSecond: 20,
 *     eventBytes: 300,
 *     retentionDays: 30,
 *   }],
 *   worker: { memoryGB: 64, cores: 16, diskGB: 2000 },
 * });
 * console.log(servers, workers.length);
 * ```
 *
 * @throws {StreamStorageError} BAD_CONFIG: `bad_fleet`, whose details name the
 *   fields; `store_too_large`.
 */
export function planFleet(description: FleetDescription): FleetPlan {
  const fleet = readFleet(description);
  const alone = fleet.cluster === true ? [] : placed(fleet, noNeeds);
  const isCluster = fleet.cluster ?? alone.length > 1;
  const workers = isCluster ? clusterWorkers(fleet) : alone;
  const coordinator = isCluster ? coordinatorOf(fleet) : null;
  const stores = fleet.stores.map((store) => ({
    name: store.name,
    count: store.count,
    tables: tablesOf(store),
    ...needsOf(store),
    ...moveTimes(store),
  }));
  const ones = workers.length + (isCluster ? 1 : 0);
  return {
    kind: isCluster ? "cluster" : "plain",
    servers: fleet.standbys ? ones * 2 : ones,
    workers: workers.map(({ stores, needs }) => ({ stores, ...needs }))
      .toSorted((a, b) => b.diskBytes - a.diskBytes),
    coordinator,
    stores,
    addWorkerSeconds: isCluster ? addWorker(stores, workers.length) : null,
    assumptions: assumptionsOf(fleet),
  };
}

function placed(fleet: Fleet, base: Needs): FilledServer[] {
  const groups = fleet.stores.map((store, i) => ({
    field: `stores.${i}`,
    name: store.name,
    count: store.count,
    needs: needsOf(store),
  }));
  return placeStores(groups, { room: roomOf(fleet), base });
}

/** Every server of a cluster has the tables of all stores, without rows. */
function clusterWorkers(fleet: Fleet): FilledServer[] {
  return placed(fleet, {
    ...everyTable(fleet.stores),
    connections: costs.clusterConnections.value,
  });
}

function everyTable(stores: readonly Required<StoreGroup>[]): Needs {
  return stores.reduce(
    (sum, store) => plus(sum, tablesAlone(store), store.count),
    noNeeds,
  );
}

function coordinatorOf({ stores }: Fleet): PlannedServer {
  return {
    stores: 0,
    ...everyTable(stores),
    connections: costs.clusterConnections.value,
  };
}

function roomOf({ worker, limits }: Fleet): Room {
  return {
    diskBytes: worker.diskGB * 1e9 * limits.diskShare,
    memoryBytes: worker.memoryGB * 1e9 * limits.memoryShare,
    cores: worker.cores * limits.processorShare,
  };
}

function addWorker(stores: readonly PlannedStore[], workers: number): number {
  const all = stores.reduce(
    (sum, { count, logicalSeconds }) => sum + count * logicalSeconds,
    0,
  );
  return all / (workers + 1);
}

function assumptionsOf({ limits }: Fleet): FleetAssumption[] {
  const measured = Object.entries(costs).map(([name, cost]) => ({
    name,
    ...cost,
  }));
  const chosen = Object.entries(parts).map(([name, what]) => ({
    name,
    what,
    value: limits[name as keyof typeof parts],
    how: "chosen, not measured: field limits of the description",
  }));
  return [...measured, ...chosen];
}

const parts = {
  diskShare: "share of a server's disk that the plan may use",
  processorShare: "share of its cores",
  memoryShare: "share of its memory, for the processes of connections",
} as const;
