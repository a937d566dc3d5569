/** The server's memory in the connections of a store. */

import { readFile } from "node:fs/promises";
import type pg from "pg";

/** A connection's process on the server, and its own memory. */
export interface Connection {
  pid: number;
  kibibytes: number;
}

/**
 * Returns the connections with this name. Their memory is what Linux reports
 * for each process (`Pss_Anon`), without shared buffers; so the server must be
 * on this machine.
 */
export async function connectionsOf(
  client: pg.Client,
  applicationName: string,
): Promise<Connection[]> {
  const { rows } = await client.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE application_name = $1",
    [applicationName],
  );
  return await Promise.all(rows.map(async ({ pid }) => {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
    const found = /^Pss_Anon:\s+(\d+) kB/m.exec(rollup);
    return { pid, kibibytes: Number(found?.[1] ?? NaN) };
  }));
}

/** Adds up the memory of the connections. */
export function kibibytesOf(connections: readonly Connection[]): number {
  return connections.reduce((sum, { kibibytes }) => sum + kibibytes, 0);
}
