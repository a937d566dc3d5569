/** Times batches. */

import process from "node:process";
import type { CpuMeter } from "./server_cpu.ts";
import type {
  Batch,
  BatchVariant,
  Measurement,
  Operation,
  ToolVariant,
  Variant,
} from "./workload.ts";

/** How long a measurement takes, and what else it does. */
export interface Effort {
  /** Timed seconds of a measurement. At least one batch runs. */
  seconds: number;
  /** Whether to check the tables after every batch. */
  check: boolean;
  /**
   * Reads the server's CPU time; undefined where the system does not show it.
   */
  serverCpu?: CpuMeter | undefined;
}

/** Measures a variant; undefined if its tool is missing. */
export async function measure(
  variant: Variant,
  effort: Effort,
): Promise<Measurement | undefined> {
  if ("measure" in variant) return await measureTool(variant, effort);
  return await measureBatches(variant, effort);
}

async function measureTool(
  variant: ToolVariant,
  { seconds, serverCpu }: Effort,
): Promise<Measurement | undefined> {
  const start = performance.now();
  const before = serverCpu?.();
  const found = await variant.measure(seconds);
  if (found === undefined || before === undefined) return found;
  const operations = found.operationsPerSecond *
    (performance.now() - start) / 1000;
  return { ...found, serverCpuUs: (serverCpu!() - before) / operations };
}

async function measureBatches(
  variant: BatchVariant,
  { seconds, check, serverCpu }: Effort,
): Promise<Measurement> {
  const latencies: number[] = [];
  let elapsedMs = 0;
  let clientUs = 0;
  let serverUs = 0;
  do {
    const batch = await variant.nextBatch();
    const serverBefore = serverCpu?.() ?? 0;
    const clientBefore = process.cpuUsage();
    elapsedMs += await runBatch(batch, latencies);
    const { user, system } = process.cpuUsage(clientBefore);
    clientUs += user + system;
    serverUs += (serverCpu?.() ?? 0) - serverBefore;
    if (check) await batch.check?.();
  } while (elapsedMs < seconds * 1000);
  latencies.sort((a, b) => a - b);
  const operations = latencies.length;
  return {
    operationsPerSecond: operations / elapsedMs * 1000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    clientCpuUs: clientUs / operations,
    ...(serverCpu === undefined ? {} : { serverCpuUs: serverUs / operations }),
  };
}

/**
 * Runs a batch and appends the milliseconds of each call to `latencies`.
 * Returns the milliseconds that the batch took.
 */
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

/** Returns the value below which the given part of the sorted values lies. */
export function quantile(sorted: readonly number[], part: number): number {
  const last = sorted.length - 1;
  return sorted[Math.min(last, Math.floor(part * sorted.length))]!;
}

/** Returns the middle value, or the mean of the two middle values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
