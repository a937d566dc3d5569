import { setImmediate, setTimeout as delay } from "node:timers/promises";

/** For this long, polling misses no condition that holds only for a moment. */
const everyTurnMs = 5;

/**
 * Resolves when the condition holds. It polls at every turn of the event loop at
 * first, then every millisecond, to leave the processor to the awaited work.
 */
export async function until(condition: () => boolean): Promise<void> {
  const restful = performance.now() + everyTurnMs;
  while (!condition()) {
    await (performance.now() < restful ? setImmediate() : delay(1));
  }
}

/**
 * The same for a condition that queries a server. The pauses leave the server
 * time for the awaited work.
 */
export async function untilSeen(
  isSeen: () => Promise<boolean>,
  restMs = 5,
): Promise<void> {
  while (!await isSeen()) await delay(restMs);
}
