/** What is shown of one stream. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { StreamSizes } from "../streams/sizes.ts";
import type { Finding } from "../verify/findings.ts";

/** A snapshot of a stream. */
export interface SnapshotPlace {
  /** Its block. */
  number: bigint;
  /** `beside`: in the column of its own; `inside`: in the block's data. */
  kind: "beside" | "inside";
  /** Its size; null inside of a block. */
  bytes: bigint | null;
}

/** A proposed block. */
export interface CandidatePlace {
  /** The number that it would have. */
  number: bigint;
  /** Its hash, 64 hexadecimal digits. */
  hash: string;
  /** Of its data. */
  bytes: bigint;
  /** Of its snapshot; 0 without one. */
  snapshotBytes: bigint;
}

/** What the minipool's rows say. */
export interface MinipoolExtent {
  /** With the marker. */
  rows: bigint;
  /** The generation; another one as `lastGeneration` is damage. */
  generation: bigint | null;
  /** The highest generation. */
  lastGeneration: bigint | null;
  /** The marker's slot is -1. */
  firstSlot: bigint | null;
  /** The highest slot. */
  lastSlot: bigint | null;
}

/** What `inspectStream` returns. It holds no payload. */
export interface StreamInspection extends StreamSizes {
  /** The suffix of the tables that it is in. */
  partition: string;
  /** Stretches of blocks without a gap, ascending; the last 10 000. */
  runs: { first: bigint; last: bigint }[];
  /** The last 1000 beside blocks, and those that were found inside, ascending. */
  snapshotPlaces: SnapshotPlace[];
  /** From this block on blocks were searched for snapshots inside; null: none. */
  searchedFrom: bigint | null;
  /** Its minipool. */
  minipool: MinipoolExtent;
  /** The last 100. */
  candidatePlaces: CandidatePlace[];
  /** What `verify` has to say of it. */
  findings: Finding[];
}

/** Which stream, and where its store is. */
export interface InspectStreamOptions extends StreamReaderOptions {
  /** Its id, or the beginning of it if no other stream begins so. */
  streamId: string;
}

/** Which blocks of a stream. */
export interface ListBlocksOptions extends InspectStreamOptions {
  /** From this number on. Default: the first. */
  from?: bigint;
  /** Up to this number. Default: the last. */
  to?: bigint;
}

/** A block's figures. */
export interface BlockSizes {
  /** Its number. */
  number: bigint;
  /** Of its data. */
  bytes: bigint;
  /** Of the snapshot beside it; 0 without one. */
  snapshotBytes: bigint;
  /** In object storage: the byte of the object at which it begins. */
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
  /** As it is stored. */
  data: Uint8Array;
  /** The snapshot beside it; null: none. */
  snapshot: Uint8Array | null;
}
