/** Reads how much CPU time a server on this machine has used. */

import { readdirSync, readFileSync } from "node:fs";
import type pg from "pg";

/**
 * Returns the microseconds that the server has used since the meter was made.
 */
export type CpuMeter = () => number;

/**
 * Makes a meter that adds up the CPU time of the server's processes, as Linux
 * reports it. Undefined for another system, or a server on another machine.
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

/** Adds up the ended processes, such as those of pgbench's connections. */
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

/** The fields after the name in the `stat` of a PostgreSQL process. */
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
