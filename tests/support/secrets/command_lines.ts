import { existsSync, readdirSync, readFileSync } from "node:fs";

/** The command lines of all processes, which everybody can read on Linux. */
export function commandLines(): string[] {
  if (!existsSync("/proc/self/cmdline")) return [];
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return processes.map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    } catch {
      return ""; // it has just ended
    }
  });
}
