/** What is measured: workloads, and who competes in them. */

import type { StreamStorage } from "../src/storage/stream_storage.ts";

/** The operations that are measured, of the store and of its baseline. */
export type MeasuredStorage = Pick<
  StreamStorage,
  | "createStreamStorage"
  | "writeEvent"
  | "writeMiniblocks"
  | "readStreamFromLastSnapshot"
  | "readMiniblocks"
>;

/** The writes among them. */
export type MeasuredWrites = Pick<
  MeasuredStorage,
  "createStreamStorage" | "writeEvent" | "writeMiniblocks"
>;

/** One call with what it needs at hand. */
export type Operation = () => Promise<void>;

/** Work with everything it needs in place. */
export interface Batch {
  /** Clients run at once, the operations of each one after another. */
  clients: Operation[][];
  /** Throws unless the tables hold what the batch must have left. */
  check?(): Promise<void>;
}

/** What one measurement found. */
export interface Measurement {
  operationsPerSecond: number;
  /** Latencies in milliseconds, where single calls can be seen. */
  p50Ms?: number;
  p99Ms?: number;
  /** Processor time of an operation, in this process and in the server's. */
  clientCpuUs?: number;
  serverCpuUs?: number;
}

/** Somebody who does a workload's work in batches that we time. */
export interface BatchVariant {
  name: string;
  /** Prepares the next batch; not timed. */
  nextBatch(): Promise<Batch>;
}

/** Somebody whose tool times itself; undefined where the tool is missing. */
export interface ToolVariant {
  name: string;
  measure(seconds: number): Promise<Measurement | undefined>;
}

/** Somebody who does a workload's work. */
export type Variant = BatchVariant | ToolVariant;

/** A ratio that is reported, and what it must reach if it must. */
export interface Goal {
  /** The names of two variants. */
  of: string;
  to: string;
  /** `throughput`: of ÷ to; `time`: the time of one call, of ÷ to. */
  measure: "throughput" | "time";
  atLeast?: number;
  atMost?: number;
}

/** One row of the table. */
export interface Workload {
  id: string;
  title: string;
  /** What one operation is: `events`, `calls`, … */
  unit: string;
  variants: Variant[];
  goals: Goal[];
}

/** Who is measured, by the names that the table has. */
export const storeName = "stream-storage";
export const baselineName = "baseline";
