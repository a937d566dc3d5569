/** Options and progress of a verification. */

import type { StreamType } from "../../storage/stream_id.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { ArchivePolicy } from "./archives.ts";
import type { Finding, VerifySummary } from "./findings.ts";
import type { VerifyLevel } from "./level.ts";
import type { VerifyState } from "./state.ts";

/** The progress of a verification. */
export interface VerifyProgress {
  /** Parts that are done. */
  done: number;
  /** Parts in all. */
  total: number;
  /** The totals so far. */
  counts: Readonly<VerifySummary>;
  /** Bytes of blocks that were read in this run. */
  bytes: number;
  /** The state from which a later run can continue. */
  state: VerifyState;
}

/**
 * The options of `verify`: those of `openStreamReader`, and what to examine.
 */
export interface VerifyOptions extends StreamReaderOptions {
  /** How much is examined. Default `structure`. */
  level?: VerifyLevel;
  /**
   * Only these streams. Default: all streams, and also rows without a stream.
   */
  streamIds?: readonly string[];
  /** Only streams of these types. */
  types?: readonly StreamType[];
  /** At level `deep`: read only this many of the last blocks of each stream. */
  since?: number;
  /** Known findings, which are only counted. */
  acknowledged?: readonly Finding[];
  /**
   * Which streams are an archiver's. The default depends on the schema's name:
   * `none` for a node's, `all` for an archiver's, `by_rows` for any other.
   */
  archives?: ArchivePolicy;
  /** The most bytes a second. Default: no limit. */
  rate?: number;
  /**
   * The number of parts that are examined at the same time. Default
   * `maxConnections`.
   */
  concurrency?: number;
  /** Where an earlier run has ended. */
  resume?: VerifyState;
  /** Called after each page. */
  onProgress?: (progress: VerifyProgress) => void;
}
