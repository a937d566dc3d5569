import { setImmediate } from "node:timers/promises";

/** Resolves at the first turn of the event loop at which the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}
