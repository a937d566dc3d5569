/**
 * Begins work on the next items before their turn, and gives the results in the
 * order of the items: small streams cost a round trip each, which need not be
 * waited for one after the other.
 */
export async function* prefetch<T, R>(
  items: AsyncIterable<T>,
  { ahead, work }: { ahead: number; work: (item: T) => Promise<R> },
): AsyncGenerator<{ item: T; result: R }> {
  const begun: { item: T; promise: Promise<R> }[] = [];
  const next = async ({ item, promise }: typeof begun[number]) => ({
    item,
    result: await promise,
  });
  try {
    for await (const item of items) {
      const promise = work(item);
      // Somebody may fail before it is this one's turn.
      promise.catch(() => {});
      begun.push({ item, promise });
      if (begun.length > ahead) yield await next(begun.shift()!);
    }
    while (begun.length > 0) yield await next(begun.shift()!);
  } finally {
    await Promise.allSettled(begun.map(({ promise }) => promise));
  }
}
