import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** The command lines of all processes that mention `path`. */
export async function processesWith(path: string): Promise<string[]> {
  const commands = existsSync("/proc/self/cmdline")
    ? await commandsOfProc()
    : (await promisify(execFile)("ps", ["-A", "-o", "args="])).stdout
      .split("\n");
  return commands.filter((command) => command.includes(path));
}

async function commandsOfProc(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  return await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "") // it just ended
    ),
  );
}

/**
 * The shared memory of the server of `dataDir`: the ids of its System V segments
 * and the paths of its POSIX segments. Empty if the system has no /proc.
 */
export async function sharedMemoryOf(dataDir: string): Promise<string[]> {
  if (!existsSync("/proc/sysvipc/shm")) return [];
  const lines = (await readFile(join(dataDir, "postmaster.pid"), "utf8"))
    .split("\n");
  const maps = await readFile(`/proc/${lines[0]}/maps`, "utf8");
  const segment = lines[6]?.trim().split(/\s+/)[1] ?? "";
  return [segment, ...new Set(maps.match(/\/dev\/shm\/\S+/g))];
}

/** Whether one of {@linkcode sharedMemoryOf} is still there. */
export async function isInMemory(segment: string): Promise<boolean> {
  if (segment.startsWith("/")) return existsSync(segment);
  return (await readFile("/proc/sysvipc/shm", "utf8")).split("\n")
    .some((line) => line.trim().split(/\s+/)[1] === segment);
}
