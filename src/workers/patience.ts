import type { Clock } from "./clock.ts";

/** How long is waited for what was told to end. */
export interface Patience {
  clock: Clock;
  /** Milliseconds from the signal's abortion. */
  graceMs: number;
  /** What is thrown after that. */
  giveUp(): unknown;
}

/**
 * What the promise gives. If it has not ended so long after the signal has
 * aborted, it is waited for no longer: whoever ignores his signal must not keep
 * others from going on, or from ending.
 */
export async function withPatience<T>(
  running: Promise<T>,
  signal: AbortSignal,
  { clock, graceMs, giveUp }: Patience,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  let cancel = () => {};
  const onAbort = () => {
    cancel = clock.after(graceMs, () => late.reject(giveUp()));
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([running, late.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    cancel();
  }
}
