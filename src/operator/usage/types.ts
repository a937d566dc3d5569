/** Options and results of a store's usage. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import type { StreamSizes } from "../streams/sizes.ts";

/**
 * The payload of the streams of one type. Bytes count what is in the database.
 */
export interface TypeUsage {
  /** The type. */
  type: StreamType;
  /** The number of streams. */
  streams: number;
  /** The number of their blocks in the database. */
  blocks: number;
  /** Bytes of these blocks. */
  blockBytes: number;
  /** The number of snapshots beside them. */
  snapshots: number;
  /** Bytes of these snapshots. */
  snapshotBytes: number;
  /** The number of events in minipools. */
  events: number;
  /** Bytes of these events. */
  minipoolBytes: number;
  /** The number of candidates. */
  candidates: number;
  /** Bytes of these candidates. */
  candidateBytes: number;
  /** Bytes before the latest snapshots, the most that trimming can free. */
  oldBytes: number;
  /** The number of blocks in object storage. */
  outsideBlocks: number;
  /** Bytes of these blocks. */
  outsideBytes: number;
}

/** One of the largest streams. */
export interface LargeStream extends StreamSizes {
  /** Bytes in the database. */
  bytes: bigint;
  /** Why it is large, in words. */
  reason: string;
}

/** The tables' space on disk, of all partitions together. */
export interface DiskUsage {
  /** Bytes of the tables with their TOAST. */
  tableBytes: number;
  /** Bytes of the indexes. */
  indexBytes: number;
  /** Deleted and replaced versions of rows, which a vacuum frees. */
  deadRows: number;
  /**
   * An estimate of the bytes that are neither payload nor the overhead of rows
   * and pages: dead rows, and space that is free for new rows.
   */
  freeBytes: number;
  /** Whether a lock kept the sizes from being measured. */
  isEstimated: boolean;
}

/** The error of a sample. */
export interface SampleError {
  /** The number of examined streams. */
  streams: number;
  /** The share of all streams, in percent. */
  percent: number;
  /**
   * In 95 of 100 samples the payload is within this many bytes of the reported
   * one.
   */
  bytes: number;
}

/** The result of `storeUsage`. */
export interface StoreUsage {
  /** The schema. */
  schema: string;
  /** The payload by type of stream, the largest first. */
  types: TypeUsage[];
  /** All types together. */
  total: Omit<TypeUsage, "type">;
  /**
   * The payload in the database: blocks, snapshots, minipools and candidates.
   */
  payloadBytes: number;
  /**
   * The streams that take most space in the database; with `sample`, of those
   * examined.
   */
  largest: LargeStream[];
  /** The space on disk. */
  disk: DiskUsage;
  /** The error of the sample; absent if every stream was examined. */
  sample?: SampleError;
}

/** The options of `storeUsage`. */
export interface StoreUsageOptions extends StreamReaderOptions {
  /** The percentage of streams to examine. Default 100: all. */
  sample?: number;
  /** How many of the largest streams to report. Default 10. */
  top?: number;
  /** The most bytes a second that the server has to read. Default: no limit. */
  rate?: number;
  /** Called with each page of streams. A returned promise is awaited. */
  onStreams?: (streams: readonly StreamSizes[]) => void | Promise<void>;
  /** Called after each page. */
  onProgress?: (progress: UsageProgress) => void;
}

/** The progress of `storeUsage`. */
export interface UsageProgress {
  /** The number of streams that are done. */
  done: number;
  /** The number of all streams. */
  total: number;
}
