/** Options and results of inspecting one stream. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamSizes } from "../streams/sizes.ts";
import type { Finding } from "../verify/findings.ts";

/** A snapshot of a stream. */
export interface SnapshotPlace {
  /** The number of its block. */
  number: bigint;
  /** `beside`: in its own column; `inside`: in the block's data. */
  kind: "beside" | "inside";
  /** Its size; null inside a block. */
  bytes: bigint | null;
}

/** A proposed block. */
export interface CandidatePlace {
  /** The number that the block would have. */
  number: bigint;
  /** Its hash, 64 hexadecimal digits. */
  hash: string;
  /** The size of its data. */
  bytes: bigint;
  /** The size of its snapshot; 0 without one. */
  snapshotBytes: bigint;
}

/** The extent of a minipool, from its rows. */
export interface MinipoolExtent {
  /** The number of rows, with the marker. */
  rows: bigint;
  /**
   * The lowest generation. If `lastGeneration` differs, the minipool is
   * damaged.
   */
  generation: bigint | null;
  /** The highest generation. */
  lastGeneration: bigint | null;
  /** The lowest slot; the marker's is -1. */
  firstSlot: bigint | null;
  /** The highest slot. */
  lastSlot: bigint | null;
}

/** The result of `inspectStream`, without payload. */
export interface StreamInspection extends StreamSizes {
  /** The suffix of the tables that hold the stream. */
  partition: string;
  /** Stretches of blocks without a gap, ascending; the last 10 000. */
  runs: { first: bigint; last: bigint }[];
  /**
   * The last 1000 snapshots beside blocks, and those found inside blocks,
   * ascending.
   */
  snapshotPlaces: SnapshotPlace[];
  /**
   * The first block that was searched for a snapshot inside; null: none was.
   */
  searchedFrom: bigint | null;
  /** Its minipool. */
  minipool: MinipoolExtent;
  /** The last 100 candidates. */
  candidatePlaces: CandidatePlace[];
  /** The findings of `verify` for this stream. */
  findings: Finding[];
}

/** Which stream, and where its store is. */
export interface InspectStreamOptions extends StreamReaderOptions {
  /** The stream's id, or a beginning of it that no other stream shares. */
  streamId: string;
}

/** Which blocks of a stream. */
export interface ListBlocksOptions extends InspectStreamOptions {
  /** From this number on. Default: the first. */
  from?: bigint;
  /** Up to this number. Default: the last. */
  to?: bigint;
}

/** A block's number and sizes. */
export interface BlockSizes {
  /** Its number. */
  number: bigint;
  /** The size of its data. */
  bytes: bigint;
  /** The size of the snapshot beside it; 0 without one. */
  snapshotBytes: bigint;
  /**
   * For a block in object storage: the byte of the object at which the block
   * begins.
   */
  startByte?: bigint;
}

/** Which block of a stream. */
export interface ReadBlockOptions extends InspectStreamOptions {
  /** Its number. */
  number: bigint;
}

/** A block with its data. */
export interface StoredBlock {
  /** The stream. */
  streamId: StreamId;
  /** Its number. */
  number: bigint;
  /** The data as they are stored. */
  data: Uint8Array;
  /** The snapshot beside it; null: none. */
  snapshot: Uint8Array | null;
}
