/**
 * Waits for the promise, but no longer than so many milliseconds. What stands
 * behind it goes on by itself.
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
