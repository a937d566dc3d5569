/** The parts of a transferred stream. */

import type { MiniblockRow } from "../../../storage/rules.ts";
import type { StreamId } from "../../../storage/stream_id.ts";

/** The kind of a stream; `archive` has no minipool. */
export type StoredKind = "regular" | "ephemeral" | "archive";

/** The part of a stream before its blocks. */
export interface StreamHead {
  readonly streamId: StreamId;
  readonly kind: StoredKind;
  /** The number of the block with the latest snapshot. */
  readonly latestSnapshot: bigint;
}

/** A proposed block, with its hash. */
export interface CandidateRow extends MiniblockRow {
  /** The candidate's hash, 64 hexadecimal digits. */
  readonly hash: string;
}

/** The events that wait for the next block. */
export interface Minipool {
  /** The number of the next block. */
  readonly generation: bigint;
  readonly envelopes: readonly Uint8Array[];
}

/** The part of a stream after its blocks. */
export interface StreamTail {
  /** The minipool, which only a regular stream has. */
  readonly minipool: Minipool | undefined;
  /** The candidates, ascending by number and hash, all above the last block. */
  readonly candidates: readonly CandidateRow[];
}

/** The header of a file. */
export interface ExportHeader {
  /** Always `towns-streams`. */
  readonly format: string;
  /** The version of the format. */
  readonly version: number;
  /** The program that wrote the file. */
  readonly writer: string;
  /** The server from which the streams were read, in words. */
  readonly source: string;
}
