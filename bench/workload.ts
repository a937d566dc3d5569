/** What a run measures: workloads, their variants, and goals. */

import type { StreamStorage } from "../src/storage/stream_storage.ts";

/** The operations that a run measures, of the store and of its baseline. */
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

/** One call, with its arguments prepared. */
export type Operation = () => Promise<void>;

/** Calls whose arguments and rows are prepared. */
export interface Batch {
  /**
   * The operations of each client. Clients run at once, each one call at a
   * time.
   */
  clients: Operation[][];
  /** Throws unless the tables hold what the batch should have stored. */
  check?(): Promise<void>;
}

/** The result of one measurement. */
export interface Measurement {
  operationsPerSecond: number;
  /** Latencies in milliseconds; absent if a tool does not time single calls. */
  p50Ms?: number;
  p99Ms?: number;
  /**
   * CPU time of an operation, in this process and in the server's processes.
   */
  clientCpuUs?: number;
  serverCpuUs?: number;
}

/** A variant whose batches this benchmark times. */
export interface BatchVariant {
  name: string;
  /** Prepares the next batch. This is not timed. */
  nextBatch(): Promise<Batch>;
}

/** A variant whose tool times itself. */
export interface ToolVariant {
  name: string;
  /** Runs the tool; undefined if it is missing. */
  measure(seconds: number): Promise<Measurement | undefined>;
}

/** One way to do a workload's work. */
export type Variant = BatchVariant | ToolVariant;

/** A ratio that the report shows, and the bound that it must keep, if any. */
export interface Goal {
  /** The names of two variants. */
  of: string;
  to: string;
  /**
   * `throughput`: that of `of` ÷ that of `to`; `time`: the same for one call's
   * time.
   */
  measure: "throughput" | "time";
  atLeast?: number;
  atMost?: number;
}

/** One row of the table. */
export interface Workload {
  id: string;
  title: string;
  /** What the operations are, in the plural: `events`, `calls`, … */
  unit: string;
  variants: Variant[];
  goals: Goal[];
}

/** The names of these variants in the table. */
export const storeName = "stream-storage";
export const baselineName = "baseline";
