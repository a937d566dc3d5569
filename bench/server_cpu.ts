/** How much processor time a server on this machine has used. */

import { readdirSync, readFileSync } from "node:fs";
import type pg from "pg";

/** Microseconds since the meter was made. */
export type CpuMeter = () => number;

/**
 * Adds up what the server's processes have used, as Linux tells it; undefined
 * for a server or a system that does not show it.
 */
export async function serverCpu(
  client: pg.Client,
): Promise<CpuMeter | undefined> {
  const { rows: [row] } = await client.query("SELECT pg_backend_pid() AS pid");
  const postmaster = parentOf(row.pid);
  if (postmaster === undefined || usedBy(row.pid) === undefined) {
    return undefined;
  }
  const total = () => {
    let us = endedBelow(postmaster);
    for (const pid of readdirSync("/proc").map(Number)) {
      if (pid > 0 && parentOf(pid) === postmaster) us += usedBy(pid) ?? 0;
    }
    return us;
  };
  const start = total();
  return () => total() - start;
}

/** Of the processes that have ended, such as those of pgbench's connections. */
function endedBelow(postmaster: number): number {
  const fields = fieldsOf(postmaster);
  return (Number(fields?.[13]) + Number(fields?.[14])) * usPerTick;
}

/** The kernel counts ended processes in hundredths of a second. */
const usPerTick = 10_000;

function parentOf(pid: number): number | undefined {
  const fields = fieldsOf(pid);
  return fields === undefined ? undefined : Number(fields[1]);
}

/** What stands behind the name of a process of PostgreSQL's in its `stat`. */
function fieldsOf(pid: number): string[] | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (!stat?.includes("(postgres)")) return undefined;
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function usedBy(pid: number): number | undefined {
  const nanoseconds = read(`/proc/${pid}/schedstat`)?.split(" ")[0];
  return nanoseconds === undefined ? undefined : Number(nanoseconds) / 1000;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}
