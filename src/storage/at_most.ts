/**
 * Waits for the promise, but at most `ms` milliseconds. The work behind the
 * promise continues by itself.
 *
 * @throws what the promise rejects with in time.
 */
export async function atMost(
  ms: number,
  promise: Promise<unknown>,
): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  try {
    await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
