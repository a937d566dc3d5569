import { writeSync } from "node:fs";

/**
 * Writes a line synchronously, so that it is out even if the process is killed
 * next.
 */
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
