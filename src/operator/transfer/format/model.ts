/** What a stream is made of on its way from one place to another. */

import type { MiniblockRow } from "../../../storage/rules.ts";
import type { StreamId } from "../../../storage/stream_id.ts";

/** `archive`: one without a minipool. */
export type StoredKind = "regular" | "ephemeral" | "archive";

/** What is known of a stream before its blocks. */
export interface StreamHead {
  readonly streamId: StreamId;
  readonly kind: StoredKind;
  /** The number of the block with the latest snapshot. */
  readonly latestSnapshot: bigint;
}

/** A block that is proposed. */
export interface CandidateRow extends MiniblockRow {
  /** 64 hexadecimal digits. */
  readonly hash: string;
}

/** The events that wait for the next block. */
export interface Minipool {
  /** The number of that block. */
  readonly generation: bigint;
  readonly envelopes: readonly Uint8Array[];
}

/** What is known of a stream behind its blocks. */
export interface StreamTail {
  /** Only a regular stream has one. */
  readonly minipool: Minipool | undefined;
  /** Ascending by number and hash; all are above the last block. */
  readonly candidates: readonly CandidateRow[];
}

/** What a file says of itself. */
export interface ExportHeader {
  /** Always `towns-streams`. */
  readonly format: string;
  /** Of the format. */
  readonly version: number;
  /** Which program wrote the file. */
  readonly writer: string;
  /** Which server the streams were read from, in words. */
  readonly source: string;
}
