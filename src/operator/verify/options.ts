/** What a verification is asked to do. */

import type { StreamType } from "../../storage/stream_id.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { ArchivePolicy } from "./archives.ts";
import type { Finding, VerifySummary } from "./findings.ts";
import type { VerifyLevel } from "./level.ts";
import type { VerifyState } from "./state.ts";

/** How far a verification is. */
export interface VerifyProgress {
  /** Parts that are done. */
  done: number;
  /** Parts in all. */
  total: number;
  /** What was counted so far. */
  counts: Readonly<VerifySummary>;
  /** Bytes of blocks that were read in this run. */
  bytes: number;
  /** To be given to a run that is to go on from here. */
  state: VerifyState;
}

/**
 * What `verify` needs to know: where the schema is, as `openStreamReader` is
 * told, and what to look at.
 */
export interface VerifyOptions extends StreamReaderOptions {
  /** Default `structure`. */
  level?: VerifyLevel;
  /** Only these streams. Default: all, and rows of no stream, too. */
  streamIds?: readonly string[];
  /** Only streams of these types. */
  types?: readonly StreamType[];
  /** At level `deep`: only so many blocks of each stream, the last ones. */
  since?: number;
  /** Findings that are known and are only counted. */
  acknowledged?: readonly Finding[];
  /**
   * Which streams are an archiver's. Default: `none` in a node's schema, `all` in
   * an archiver's, by their names; elsewhere `by_rows`.
   */
  archives?: ArchivePolicy;
  /** Bytes a second at most. Default: no limit. */
  rate?: number;
  /** Parts that are looked at beside each other. Default `maxConnections`. */
  concurrency?: number;
  /** Where another run has ended. */
  resume?: VerifyState;
  /** Called after each page. */
  onProgress?: (progress: VerifyProgress) => void;
}
