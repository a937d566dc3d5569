import { writeSync } from "node:fs";

/** Prints a line at once: what is told must outlive the process. */
export function sendLine(message: unknown): void {
  let line = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
  while (line.length > 0) {
    try {
      line = line.subarray(writeSync(1, line));
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
    }
  }
}
