/** Computes what a store needs from a server. */

import { along, costs } from "./costs.ts";
import type { StoreGroup } from "./description.ts";

/** The needs that add up on a server. */
export interface Needs {
  /** Sessions of stores. */
  connections: number;
  /** Memory of the processes of these sessions. */
  memoryBytes: number;
  /** Cores that are busy on average. */
  cores: number;
  /** Disk space of the stores' tables and of the server's catalogue. */
  diskBytes: number;
  /** Bytes of write-ahead log a day. */
  logBytesPerDay: number;
  /** The number of tables, TOAST tables and indexes. */
  relations: number;
  /** Bytes of the server's catalogue, which `diskBytes` includes. */
  catalogueBytes: number;
}

/** How long a store's move to another worker node takes. */
export interface MoveTimes {
  /** Seconds of a move while the store is used. */
  logicalSeconds: number;
  /** Seconds of a move during which writes wait. */
  blockingSeconds: number;
}

const secondsPerDay = 86_400;
const measuredConnections = 10;
const measuredEventBytes = 300;

/** No needs. */
export const noNeeds: Needs = {
  connections: 0,
  memoryBytes: 0,
  cores: 0,
  diskBytes: 0,
  logBytesPerDay: 0,
  relations: 0,
  catalogueBytes: 0,
};

/** Adds `times` the second needs to the first. */
export function plus(a: Needs, b: Needs, times = 1): Needs {
  const sum = { ...a };
  for (const key of Object.keys(sum) as (keyof Needs)[]) {
    sum[key] += b[key] * times;
  }
  return sum;
}

/** The needs of a store on the server that has its rows. */
export function needsOf(store: Required<StoreGroup>): Needs {
  const { eventsPerSecond, eventBytes, connections } = store;
  const tables = tablesAlone(store);
  const micros = along(costs.processorMicros.value, eventsPerSecond, "level") +
    Math.max(0, eventBytes - measuredEventBytes) *
      costs.processorMicrosPerByte.value;
  return {
    ...tables,
    connections,
    memoryBytes: along(costs.memoryBytes.value, store.partitions, "straight") *
      connections / measuredConnections,
    cores: eventsPerSecond * micros / 1e6,
    diskBytes: tables.diskBytes + rowBytes(store),
    logBytesPerDay: eventsPerSecond * secondsPerDay *
      along(costs.logBytes.value, eventBytes, "straight"),
  };
}

/**
 * The needs of a store's tables without rows. In a cluster every other server
 * has these, and the store's own server has them a second time.
 */
export function tablesAlone(
  { partitions }: Pick<StoreGroup, "partitions">,
): Needs {
  const { perPartition, others } = costs.relations.value;
  const relations = partitions * perPartition + others;
  const catalogueBytes = relations * costs.catalogueBytes.value;
  return {
    ...noNeeds,
    relations,
    catalogueBytes,
    diskBytes: catalogueBytes + relations * costs.emptyBytes.value,
  };
}

/** The number of a store's tables. */
export function tablesOf(
  { partitions }: Pick<StoreGroup, "partitions">,
): number {
  const { perPartition, others } = costs.tables.value;
  return partitions * perPartition + others;
}

function rowBytes(store: Required<StoreGroup>): number {
  const { eventsPerSecond, eventBytes, retentionDays, streams } = store;
  const events = eventsPerSecond * secondsPerDay * retentionDays;
  const media = store.mediaInBucket ? 0 : store.mediaGB * 1e9;
  return events * along(costs.diskBytes.value, eventBytes, "straight") +
    streams * costs.streamBytes.value + media * costs.mediaFactor.value;
}

/** How long a store's move takes, by its rows and tables. */
export function moveTimes(store: Required<StoreGroup>): MoveTimes {
  const { catalogueBytes, diskBytes } = needsOf(store);
  const bytes = diskBytes - catalogueBytes;
  const seconds = (
    { secondsPerTable, bytesPerSecond }: {
      secondsPerTable: number;
      bytesPerSecond: number;
    },
  ) => tablesOf(store) * secondsPerTable + bytes / bytesPerSecond;
  return {
    logicalSeconds: seconds(costs.logicalMove.value),
    blockingSeconds: seconds(costs.blockingMove.value),
  };
}
