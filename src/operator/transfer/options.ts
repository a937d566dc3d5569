/** What exports, imports, copies and comparisons are asked to do and report. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { OwnerOptions } from "../repair/owner.ts";
import type { ExportHeader } from "./format/model.ts";
import type { StreamChoice } from "./source/stream_ids.ts";

/** How far a transfer is. */
export interface TransferProgress {
  /** Streams that are done. */
  streams: number;
  /** Their blocks. */
  blocks: number;
  /** Bytes of blocks, snapshots and events that went through. */
  bytes: number;
  /**
   * The last stream that is done, and all before it; empty, none is. A run that
   * goes on begins behind it.
   */
  after: string;
}

/** What all transfers can be told. */
export interface TransferOptions {
  /** Bytes a second at most. Default: no limit. */
  rate?: number;
  /** Streams that are worked on beside each other. Default 16. */
  concurrency?: number;
  /** Called after each stream, and now and then while a large one is moved. */
  onProgress?: (progress: TransferProgress) => void;
}

/** What became of a stream that did not go the usual way. */
export interface StreamProblem {
  /** The stream. */
  readonly streamId: string;
  /**
   * `broken`: it would not load, see `verify`; `gone`: it was deleted meanwhile;
   * `exists`, `forked`, `ahead`, `bad_id`: the target has one, has one with other
   * blocks, has more of it, takes no such id; `differs`: the target's is not as the
   * source's is, for the source has changed; `outside`: its blocks are in
   * object storage, and can't be fetched there, or added to.
   */
  readonly problem:
    | "broken"
    | "gone"
    | "exists"
    | "forked"
    | "ahead"
    | "bad_id"
    | "differs"
    | "outside";
  /** The same for people. */
  readonly what: string;
}

/** What {@linkcode exportStreams} needs to know: where the streams are, and which. */
export interface ExportOptions
  extends StreamReaderOptions, StreamChoice, TransferOptions {
  /**
   * The file to be made. It must not be there, unless `resume`. With a name that
   * ends with `.gz` it is compressed.
   */
  file: string;
  /** Go on with a file that an interrupted export has left; not a compressed one. */
  resume?: boolean;
  /** Called for each stream that is left out. */
  onProblem?: (problem: StreamProblem) => void;
}

/** What an export has done. */
export interface ExportSummary {
  /** Streams in the file. */
  streams: number;
  /** Blocks that were read in this run. */
  blocks: number;
  /** Bytes of blocks, snapshots and events that were read in this run. */
  bytes: number;
  /** Streams that were left out. */
  problems: number;
  /** Seconds that it took. */
  seconds: number;
}

/**
 * What to do where a stream is there already: `refuse` leaves it as it is;
 * `replace` removes it first; `extend` adds what it lacks, unless one of its
 * blocks is another one, or it has more at its end.
 */
export type WhenStored = "refuse" | "replace" | "extend";

/** What {@linkcode importStreams} needs to know: which file, and where to. */
export interface ImportOptions
  extends OwnerOptions, StreamChoice, TransferOptions {
  /** The file. It is read twice, so it can't be a pipe. */
  file: string;
  /** Default `refuse`. */
  existing?: WhenStored;
  /** Where another run has ended: its last progress's `after`. */
  after?: string;
  /** Called for each stream that was not taken. */
  onProblem?: (problem: StreamProblem) => void;
}

/** What an import or a copy has done. */
export interface TransferSummary {
  /** Streams that were looked at. */
  streams: number;
  /** Those of them that were written. */
  written: number;
  /** Those that were there, and the same. */
  equal: number;
  /** Those that are not there as they are in the source. */
  problems: number;
  /** Blocks that went through. */
  blocks: number;
  /** Bytes of blocks, snapshots and events that went through. */
  bytes: number;
  /** Seconds that it took. */
  seconds: number;
}

/** What a file holds. */
export interface ExportContents {
  /** What it says of itself. */
  header: ExportHeader;
  /** Streams. */
  streams: number;
  /** Their blocks. */
  blocks: number;
  /** Bytes of blocks, snapshots and events. */
  bytes: number;
}
