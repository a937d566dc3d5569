/** Processor time of a server on this machine, as Linux counts it. */
import { readdir, readFile } from "node:fs/promises";
import type { Node } from "./nodes.ts";

/** Of a second: USER_HZ, 100 on all common processors. */
const ticks = 100;

/**
 * Seconds that the server has used: of all processes, ended ones, too. NaN of a
 * server on another machine, or without /proc.
 */
export async function processorSeconds(node: Node): Promise<number> {
  const { pid } = await node.row<{ pid: number }>(
    "SELECT pg_backend_pid() AS pid",
  );
  const postmaster = (await statOf(String(pid)))?.parent;
  const names = await readdir("/proc").catch(() => []);
  const stats = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map(statOf),
  );
  const main = stats.find((stat) => stat?.pid === postmaster);
  if (main === undefined) return NaN;
  const children = stats.filter((stat) => stat?.parent === postmaster);
  const own = [main, ...children].reduce((sum, stat) => sum + stat!.used, 0);
  return (own + main.ended) / ticks;
}

interface Stat {
  pid: number;
  parent: number;
  used: number;
  /** Of children that have ended. */
  ended: number;
}

/** Undefined: it has ended meanwhile. */
async function statOf(pid: string): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name before may hold blanks.
  const [, parent, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (parent === undefined) return undefined;
  const [user, system, endedUser, endedSystem] = rest.slice(9).map(Number);
  return {
    pid: Number(pid),
    parent: Number(parent),
    used: user! + system!,
    ended: endedUser! + endedSystem!,
  };
}
