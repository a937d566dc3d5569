/** The server's memory in the connections of a store. */

import {
  callAllPartitions,
  everyCall,
} from "../../scripts/server_memory/calls.ts";
import {
  connectionsOf,
  kibibytesOf,
} from "../../scripts/server_memory/connections.ts";
import type { Figures, Place, PrepareRow } from "./place.ts";

/**
 * After calls of every kind in all partitions. The store is opened for this
 * row: memory that other rows have left in the sessions would count, too.
 */
export const memoryRows: Record<string, PrepareRow> = {
  "server-memory": (place) => Promise.resolve(() => memoryOfNewStore(place)),
};

async function memoryOfNewStore(
  { direct, openAnother, sizes: { partitions, memoryRounds } }: Place,
): Promise<Figures> {
  const { storage, applicationName } = await openAnother();
  try {
    await callAllPartitions((ids) => everyCall(storage, ids), {
      partitions,
      rounds: memoryRounds,
      clients: 32,
    });
    const connections = await connectionsOf(direct, applicationName);
    return {
      mebibytes: kibibytesOf(connections) / 1024,
      connections: connections.length,
    };
  } finally {
    await storage.close();
  }
}
