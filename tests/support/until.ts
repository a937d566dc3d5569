import { setImmediate, setTimeout as delay } from "node:timers/promises";

/** A condition that holds for a moment only, soon after a call, is not missed. */
const everyTurnMs = 5;

/**
 * Resolves when the condition holds: looks at every turn of the event loop at
 * first, then every millisecond, or what is waited for would not get a processor.
 */
export async function until(condition: () => boolean): Promise<void> {
  const restful = performance.now() + everyTurnMs;
  while (!condition()) {
    await (performance.now() < restful ? setImmediate() : delay(1));
  }
}

/**
 * The same of a condition that takes a look at a server. It leaves the server
 * some rest, which has work to do before the condition can hold.
 */
export async function untilSeen(
  isSeen: () => Promise<boolean>,
  restMs = 5,
): Promise<void> {
  while (!await isSeen()) await delay(restMs);
}
