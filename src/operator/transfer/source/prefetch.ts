/**
 * Starts work on the next items before their turn, and yields the results in
 * the order of the items. Small streams cost a round trip each; this way the
 * round trips overlap.
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
      // An earlier item may fail before this one is awaited.
      promise.catch(() => {});
      begun.push({ item, promise });
      if (begun.length > ahead) yield await next(begun.shift()!);
    }
    while (begun.length > 0) yield await next(begun.shift()!);
  } finally {
    await Promise.allSettled(begun.map(({ promise }) => promise));
  }
}
