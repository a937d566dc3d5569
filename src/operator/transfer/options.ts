/** Options and results of exports, imports, copies and comparisons. */

import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { OwnerOptions } from "../repair/owner.ts";
import type { ExportHeader } from "./format/model.ts";
import type { StreamChoice } from "./source/stream_ids.ts";

/** The progress of a transfer. */
export interface TransferProgress {
  /** Streams that are done. */
  streams: number;
  /** Blocks of these streams. */
  blocks: number;
  /**
   * Bytes of blocks, snapshots and events that were transferred or compared.
   */
  bytes: number;
  /**
   * The last stream of those that are done without a gap; empty if none is. A
   * later run can continue after it.
   */
  after: string;
}

/** The options that all transfers share. */
export interface TransferOptions {
  /** Bytes a second at most. Default: no limit. */
  rate?: number;
  /** How many streams are worked on at the same time. Default 16. */
  concurrency?: number;
  /** Called after each stream, and now and then while a large one is moved. */
  onProgress?: (progress: TransferProgress) => void;
}

/** A stream that could not be transferred as usual. */
export interface StreamProblem {
  /** The stream. */
  readonly streamId: string;
  /**
   * `broken`: the stream would not load, see `verify`. `gone`: it was deleted
   * meanwhile. `exists`: the target has it already. `forked`: the target has it
   * with other blocks. `ahead`: the target has more of it. `bad_id`: the target
   * accepts no such id. `differs`: the target's stream is not equal to the
   * source's, because the source has changed. `outside`: its blocks are in
   * object storage and can't be fetched or extended there.
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
  /** The problem in words. */
  readonly what: string;
}

/**
 * The options of {@linkcode exportStreams}: the source and the choice of
 * streams.
 */
export interface ExportOptions
  extends StreamReaderOptions, StreamChoice, TransferOptions {
  /**
   * The file to make. It must not exist, unless `resume` is set. If its name
   * ends with `.gz`, it is compressed.
   */
  file: string;
  /**
   * Continue the file of an interrupted export. A compressed file can't be
   * continued.
   */
  resume?: boolean;
  /** Called for each stream that is left out. */
  onProblem?: (problem: StreamProblem) => void;
}

/** The result of an export. */
export interface ExportSummary {
  /** Streams in the file. */
  streams: number;
  /** Blocks that were read in this run. */
  blocks: number;
  /** Bytes of blocks, snapshots and events that were read in this run. */
  bytes: number;
  /** Streams that were left out. */
  problems: number;
  /** Seconds that the run took. */
  seconds: number;
}

/**
 * What to do if a stream exists already. `refuse` leaves it as it is. `replace`
 * removes it first. `extend` adds what it lacks, unless one of its blocks
 * differs or it has more at its end.
 */
export type WhenStored = "refuse" | "replace" | "extend";

/** The options of {@linkcode importStreams}: the file and the target. */
export interface ImportOptions
  extends OwnerOptions, StreamChoice, TransferOptions {
  /** The file. It is read twice, so it can't be a pipe. */
  file: string;
  /** What to do with streams that exist already. Default `refuse`. */
  existing?: WhenStored;
  /** Where an earlier run has ended: the `after` of its last progress. */
  after?: string;
  /** Called for each stream that was not imported. */
  onProblem?: (problem: StreamProblem) => void;
}

/** The result of an import or a copy. */
export interface TransferSummary {
  /** Streams that were examined. */
  streams: number;
  /** Streams that were written. */
  written: number;
  /** Streams that were equal already. */
  equal: number;
  /** Streams that the target does not have as the source has them. */
  problems: number;
  /** Blocks that were transferred or compared. */
  blocks: number;
  /**
   * Bytes of blocks, snapshots and events that were transferred or compared.
   */
  bytes: number;
  /** Seconds that the run took. */
  seconds: number;
}

/** The contents of a file. */
export interface ExportContents {
  /** The file's header. */
  header: ExportHeader;
  /** The number of streams. */
  streams: number;
  /** Blocks of these streams. */
  blocks: number;
  /** Bytes of blocks, snapshots and events. */
  bytes: number;
}
