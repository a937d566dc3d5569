/** What a store's space is used for. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { StreamType } from "../../storage/stream_id.ts";
import type { StreamSizes } from "../streams/sizes.ts";

/** Payload of the streams of one type; bytes are of what is in the database. */
export interface TypeUsage {
  /** The type. */
  type: StreamType;
  /** How many streams. */
  streams: number;
  /** Their blocks in the database. */
  blocks: number;
  /** Of these blocks. */
  blockBytes: number;
  /** Snapshots beside them. */
  snapshots: number;
  /** Of these snapshots. */
  snapshotBytes: number;
  /** Events in minipools. */
  events: number;
  /** Of these events. */
  minipoolBytes: number;
  /** Proposed blocks. */
  candidates: number;
  /** Of these candidates. */
  candidateBytes: number;
  /** Before the latest snapshots: what trimming could free at the most. */
  oldBytes: number;
  /** Blocks in object storage. */
  outsideBlocks: number;
  /** Of these blocks. */
  outsideBytes: number;
}

/** One of the largest streams. */
export interface LargeStream extends StreamSizes {
  /** In the database. */
  bytes: bigint;
  /** Why it is large, in words. */
  reason: string;
}

/** What the tables take on disk, all partitions together. */
export interface DiskUsage {
  /** Of tables with their TOAST. */
  tableBytes: number;
  /** Of indexes. */
  indexBytes: number;
  /** Rows of deleted and replaced versions, which a vacuum makes free. */
  deadRows: number;
  /**
   * Neither payload nor what rows and pages need beside it: dead rows, and space
   * that is free for new ones. Estimated.
   */
  freeBytes: number;
  /** Whether a lock kept the sizes from being measured. */
  isEstimated: boolean;
}

/** How far a sample may be off. */
export interface SampleError {
  /** Streams that were looked at. */
  streams: number;
  /** Of all streams, in percent. */
  percent: number;
  /** In 95 of 100 samples the payload is within so many bytes of what is told. */
  bytes: number;
}

/** What `storeUsage` returns. */
export interface StoreUsage {
  /** The schema. */
  schema: string;
  /** The largest first. */
  types: TypeUsage[];
  /** All types together. */
  total: Omit<TypeUsage, "type">;
  /** Payload in the database: of blocks, snapshots, minipools, candidates. */
  payloadBytes: number;
  /** Those that take most in the database; of a sample, of those seen. */
  largest: LargeStream[];
  /** On disk. */
  disk: DiskUsage;
  /** Absent: every stream was looked at. */
  sample?: SampleError;
}

/** What `storeUsage` needs to know. */
export interface StoreUsageOptions extends StreamReaderOptions {
  /** Looks at so many percent of the streams. Default 100: all. */
  sample?: number;
  /** So many of the largest streams are told. Default 10. */
  top?: number;
  /** Bytes a second at most that the server has to look at. Default: no limit. */
  rate?: number;
  /** Gets each page of streams; a promise is waited for. */
  onStreams?: (streams: readonly StreamSizes[]) => void | Promise<void>;
  /** Called after each page. */
  onProgress?: (progress: UsageProgress) => void;
}

/** How far `storeUsage` is. */
export interface UsageProgress {
  /** Streams that were passed. */
  done: number;
  /** All of them. */
  total: number;
}
