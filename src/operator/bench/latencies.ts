/** Times calls that several callers make at once. */

/** The measurements of one kind of call. */
export interface BenchLine {
  /** The call. */
  operation: string;
  /** How many callers there were at once. */
  callers: number;
  /** How many calls were made. */
  calls: number;
  /** Calls a second. */
  perSecond: number;
  /** The median: half of the calls took at most this many milliseconds. */
  p50Ms: number;
  /** 99 of 100 calls took at most this many milliseconds. */
  p99Ms: number;
}

/** A kind of call: the nth call of a caller, both counted from 0. */
export interface BenchWork {
  operation: string;
  callers: number;
  call(caller: number, nth: number): Promise<unknown>;
}

/** Lets every caller make one call after another until the time is over. */
export async function measureCalls(
  { operation, callers, call }: BenchWork,
  { milliseconds, signal }: {
    milliseconds: number;
    signal: AbortSignal | undefined;
  },
): Promise<BenchLine> {
  const latencies: number[] = [];
  const start = performance.now();
  let isOver = false;
  const callOn = async (caller: number) => {
    for (let nth = 0; !isOver; nth++) {
      signal?.throwIfAborted();
      const before = performance.now();
      await call(caller, nth);
      const now = performance.now();
      latencies.push(now - before);
      isOver ||= now - start >= milliseconds;
    }
  };
  const running = Array.from({ length: callers }, (_, i) => callOn(i));
  try {
    await Promise.all(running);
  } finally {
    isOver = true;
    // No call may run on: the store is closed next.
    await Promise.allSettled(running);
  }
  const seconds = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) =>
    latencies[Math.ceil(latencies.length * share) - 1] ?? 0;
  return {
    operation,
    callers,
    calls: latencies.length,
    perSecond: latencies.length / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}
