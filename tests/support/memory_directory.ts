import { readFileSync, statfsSync } from "node:fs";
import { freemem } from "node:os";

const directory = "/dev/shm";

/** Jobs were seen to take less than 400 MB each. */
const enoughBytes = 3 * 2 ** 30;

/**
 * The directory in memory for the files of tests, if the machine has one that
 * can hold them. A test server makes and removes thousands of small files: on a
 * disk, the file system takes more of the processors' time than the server.
 *
 * Nothing is tested less: a killed process loses nothing in either place, and
 * no test takes the machine's power away.
 */
export function memoryDirectory(): string | undefined {
  return runsPrograms() && hasRoom() ? directory : undefined;
}

/** Containers often forbid it; copies of the server's binaries lie there. */
function runsPrograms(): boolean {
  const mount = textOf("/proc/mounts").split("\n")
    .map((line) => line.split(" "))
    .findLast(([, path]) => path === directory);
  const [, , type, options = ""] = mount ?? [];
  return type === "tmpfs" && !options.split(",").includes("noexec");
}

function hasRoom(): boolean {
  const { bavail, bsize } = statfsSync(directory);
  return Math.min(bavail * bsize, freemem()) >= enoughBytes;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not Linux
  }
}
