/** What one store needs of a server. */

import { along, costs } from "./costs.ts";
import type { StoreGroup } from "./description.ts";

/** What is added up on a server. */
export interface Needs {
  /** Sessions of stores. */
  connections: number;
  /** Of the processes of these sessions. */
  memoryBytes: number;
  /** Cores that are busy on average. */
  cores: number;
  /** Of the stores' tables, and of what the server knows of all of them. */
  diskBytes: number;
  /** Of the write-ahead log. */
  logBytesPerDay: number;
  /** Tables, TOAST tables and indexes. */
  relations: number;
  /** Of the system's own tables, also in `diskBytes`. */
  catalogueBytes: number;
}

/** How long a store takes to another worker. */
export interface MoveTimes {
  /** Copied while it is used. */
  logicalSeconds: number;
  /** Writes wait for as long. */
  blockingSeconds: number;
}

const secondsPerDay = 86_400;
const measuredConnections = 10;
const measuredEventBytes = 300;

/** Nothing. */
export const noNeeds: Needs = {
  connections: 0,
  memoryBytes: 0,
  cores: 0,
  diskBytes: 0,
  logBytesPerDay: 0,
  relations: 0,
  catalogueBytes: 0,
};

/** Both together, `times` the second. */
export function plus(a: Needs, b: Needs, times = 1): Needs {
  const sum = { ...a };
  for (const key of Object.keys(sum) as (keyof Needs)[]) {
    sum[key] += b[key] * times;
  }
  return sum;
}

/** Of a store where its rows are. */
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
 * Of a store's tables without rows: what every other server of a cluster has of
 * it, and its own server a second time.
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

/** How many tables a store has. */
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

/** Of its rows and tables. */
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
