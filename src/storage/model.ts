import type { StreamId } from "./stream_id.ts";

/** One block of a stream, as it is written and as it is read. */
export interface MiniblockDescriptor {
  /** The block's number in its stream, 0 to 2^63 - 1. */
  number: bigint;
  /** The serialised block; never empty when written. */
  data: Uint8Array;
  /**
   * The block's hash, 32 bytes: required when a candidate is written, present
   * when one is read, ignored and absent everywhere else.
   */
  hash?: Uint8Array;
  /**
   * The serialised snapshot beside the block. Absent and zero-length mean the
   * same: no snapshot. Never zero-length when read.
   */
  snapshot?: Uint8Array;
  /** Write only: the snapshot is embedded in `data`. */
  hasLegacySnapshot?: boolean;
}

/** A run of block numbers without a gap. */
export interface MiniblockRange {
  /** The first number of the run. */
  startInclusive: bigint;
  /** The last number of the run. */
  endInclusive: bigint;
  /** The numbers of the run that carry a snapshot, ascending. */
  snapshotSeqNums: bigint[];
}

/** The last optional argument of every method. */
export interface OperationOptions {
  /**
   * Stops waiting and reading; a write that is running is not cancelled. The
   * call then fails with `CANCELED` and the signal's reason as its cause.
   */
  signal?: AbortSignal;
}

/** How `readMiniblocks` and `streamMiniblocks` read. */
export interface ReadMiniblocksOptions extends OperationOptions {
  /** Leaves out every snapshot, without reading it. Default false. */
  omitSnapshot?: boolean;
}

/** Which page of stream ids `getStreams` returns. */
export interface GetStreamsOptions extends OperationOptions {
  /** Only ids greater than this one. Default: from the first. */
  after?: StreamId;
  /** At most this many ids, 1 or more. Default: all. */
  limit?: number;
}

/** The minipool that a block leaves behind. */
export interface NewMinipool {
  /** The last written block's number + 1. */
  generation: bigint;
  /** The events that already wait, none of them empty. */
  envelopes: Uint8Array[];
}

/** The minipool that a block replaces. */
export interface PreviousMinipool {
  /** The first written block's number. */
  generation: bigint;
  /** The number of its events; not checked when omitted. */
  size?: number;
}

/** What `readStreamFromLastSnapshot` returns. */
export interface ReadStreamFromLastSnapshotResult {
  /** The index in `miniblocks` of the block with the latest snapshot. */
  snapshotMiniblockOffset: number;
  /** Blocks without a gap up to the last one, ascending. */
  miniblocks: MiniblockDescriptor[];
  /** The events waiting for the next block, in order. */
  minipoolEnvelopes: Uint8Array[];
}

/** What `readMiniblocks` returns. */
export interface ReadMiniblocksResult {
  /** Blocks without a gap, ascending. */
  miniblocks: MiniblockDescriptor[];
  /** Whether nothing is stored directly before the range. */
  terminus: boolean;
}

/** Where the blocks of a stream are: in the database or in object storage. */
export type MiniblocksStoredLocation = "db" | "s3" | "gcs";

/** One minipool row; the marker has slot -1 and no data. */
export interface MinipoolEvent {
  /** The number of the block that the event waits for. */
  generation: bigint;
  /** The event's place in the minipool; -1 is the marker. */
  slot: number;
  /** The serialised event; absent when the row holds none. */
  data?: Uint8Array;
}

/** Everything that is stored of a stream. */
export interface DebugReadStreamDataResult {
  /** The stream. */
  streamId: StreamId;
  /** The number of the block with the latest snapshot. */
  latestSnapshotMiniblockNum: bigint;
  /** All blocks, ascending, gaps included. */
  miniblocks: MiniblockDescriptor[];
  /** All minipool rows by generation and slot, the marker included. */
  events: MinipoolEvent[];
  /** All candidates by number and hash. */
  miniblockCandidates: MiniblockDescriptor[];
}

/** What is stored of a stream, in numbers. */
export interface DebugReadStreamStatisticsResult {
  /** The stream. */
  streamId: StreamId;
  /** The number of the block with the latest snapshot. */
  latestSnapshotMiniblockNum: bigint;
  /** The runs of stored blocks, as `getMiniblockNumberRanges` returns them. */
  miniblockRanges: MiniblockRange[];
  /** All candidates by number and hash. */
  miniblockCandidates: { number: bigint; hash: Uint8Array }[];
  /** The number of minipool rows without the marker. */
  minipoolEvents: number;
  /** The suffix of the partition tables that hold the stream. */
  partitionSuffix: string;
}
