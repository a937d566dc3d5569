/** Timing of batches. */

import type {
  Batch,
  BatchContender,
  Contender,
  Measurement,
  Operation,
} from "./workload.ts";

/** How long and how carefully is measured. */
export interface Effort {
  /** Timed seconds of a measurement; at least one batch is run. */
  seconds: number;
  /** Whether the tables are looked at after every batch. */
  check: boolean;
}

/** Measures a contender; undefined where its tool is missing. */
export async function measure(
  contender: Contender,
  effort: Effort,
): Promise<Measurement | undefined> {
  if ("measure" in contender) return await contender.measure(effort.seconds);
  return await measureBatches(contender, effort);
}

async function measureBatches(
  contender: BatchContender,
  { seconds, check }: Effort,
): Promise<Measurement> {
  const latencies: number[] = [];
  let elapsedMs = 0;
  do {
    const batch = await contender.nextBatch();
    elapsedMs += await runBatch(batch, latencies);
    if (check) await batch.check?.();
  } while (elapsedMs < seconds * 1000);
  latencies.sort((a, b) => a - b);
  return {
    operationsPerSecond: latencies.length / elapsedMs * 1000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

/** Runs a batch, adds each call's milliseconds, returns those of all. */
export async function runBatch(
  batch: Batch,
  latencies: number[],
): Promise<number> {
  const start = performance.now();
  await Promise.all(
    batch.clients.map((operations) => runClient(operations, latencies)),
  );
  return performance.now() - start;
}

async function runClient(
  operations: readonly Operation[],
  latencies: number[],
): Promise<void> {
  for (const operation of operations) {
    const start = performance.now();
    await operation();
    latencies.push(performance.now() - start);
  }
}

/** The value below which the given part of the sorted values lies. */
export function quantile(sorted: readonly number[], part: number): number {
  const last = sorted.length - 1;
  return sorted[Math.min(last, Math.floor(part * sorted.length))]!;
}

/** The middle of the values, the mean of two where there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
