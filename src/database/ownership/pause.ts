/** Waits; rejects with the reason of the first signal that aborts. */
export function pause(
  ms: number,
  ...signals: (AbortSignal | undefined)[]
): Promise<void> {
  const any = AbortSignal.any(signals.filter((signal) => signal !== undefined));
  return new Promise((resolve, reject) => {
    if (any.aborted) return reject(any.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(any.reason);
    };
    const timer = setTimeout(() => {
      any.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    any.addEventListener("abort", onAbort, { once: true });
  });
}
