import { existsSync, readdirSync, readFileSync } from "node:fs";

/** What everybody can see of every process that there is; Linux has it. */
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
