import type { Clock } from "./clock.ts";

/** How long to wait for something that was asked to end. */
export interface GracePeriod {
  clock: Clock;
  /** Milliseconds after the signal's abort. */
  graceMs: number;
  /** Builds the error that is thrown after that. */
  giveUp(): unknown;
}

/**
 * The promise's value. If it has not settled within the grace period after the
 * signal's abort, the wait ends: work that ignores its signal must not keep
 * others from continuing, or from closing.
 */
export async function withGracePeriod<T>(
  running: Promise<T>,
  signal: AbortSignal,
  { clock, graceMs, giveUp }: GracePeriod,
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
