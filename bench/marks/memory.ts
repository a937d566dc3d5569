/** The server's memory in the connections of a store. */

import { readFile } from "node:fs/promises";
import {
  everyCall,
  idsByPartition,
  streamsOfEveryCall,
} from "../../scripts/server_memory/calls.ts";
import { times } from "../data.ts";
import type { Figures, Place, PrepareRow } from "./place.ts";

/** After calls of every kind in all partitions. */
export const memoryRows: Record<string, PrepareRow> = {
  "server-memory": async (place) => {
    const { partitions, memoryRounds } = place.sizes;
    for (let round = 0; round < memoryRounds; round++) {
      const left = idsByPartition(partitions, streamsOfEveryCall);
      await Promise.all(times(32, async () => {
        for (let ids; (ids = left.pop()) !== undefined;) {
          await everyCall(place.storage, ids);
        }
      }));
    }
    return () => memoryOf(place);
  },
};

/** As Linux reports it for each process, without shared buffers. */
async function memoryOf({ direct, applicationName }: Place): Promise<Figures> {
  const { rows } = await direct.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE application_name = $1",
    [applicationName],
  );
  const kibibytes = await Promise.all(rows.map(async ({ pid }) => {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    return Number(/^Pss_Anon:\s+(\d+) kB/m.exec(rollup)?.[1]);
  }));
  return {
    mebibytes: kibibytes.reduce((sum, one) => sum + one, 0) / 1024,
    connections: kibibytes.length,
  };
}
