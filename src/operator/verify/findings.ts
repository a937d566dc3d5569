/** What a verification finds, and how it is told. */

import type { StreamId } from "../../storage/stream_id.ts";

/** How bad a finding is; a note describes what is unusual but allowed. */
export type FindingSeverity = "error" | "warning" | "note";

/** The kinds of findings; docs/operations.md describes each. */
export type FindingCode =
  | "no_blocks"
  | "snapshot_pointer"
  | "gap"
  | "empty_block"
  | "minipool_generation"
  | "minipool_hole"
  | "minipool_unexpected"
  | "orphan_blocks"
  | "orphan_minipool"
  | "orphan_candidates"
  | "wrong_partition"
  | "stale_candidates"
  | "location"
  | "undecodable_block"
  | "hash_mismatch"
  | "broken_chain"
  | "schema_drift"
  | "extra_partition";

/** A value in a finding's details: a number beyond 2^53 is a string. */
export type FindingDetail =
  | string
  | number
  | boolean
  | null
  | readonly FindingDetail[];

/**
 * One thing that was found. It holds names, numbers and sizes, never payload,
 * and can be written as JSON as it is.
 */
export interface Finding {
  /** How bad it is. */
  readonly severity: FindingSeverity;
  /** The kind. */
  readonly finding: FindingCode;
  /** The stream, or null where the finding is about the schema. */
  readonly streamId: StreamId | null;
  /** One sentence for people. */
  readonly what: string;
  /** The same for programs. */
  readonly details: Readonly<Record<string, FindingDetail>>;
}

/** Makes a finding about one stream. */
export type Report = (
  severity: Finding["severity"],
  finding: Finding["finding"],
  what: string,
  details?: Record<string, FindingDetail>,
) => void;

/** What a verification went through and found. */
export interface VerifySummary {
  /** Rows of `es`. */
  streams: number;
  /** Blocks of them, in the database and outside. */
  blocks: number;
  /** Events in their minipools. */
  events: number;
  /** Errors that were found, without those that were acknowledged. */
  errors: number;
  /** Warnings, in the same way. */
  warnings: number;
  /** Notes, in the same way. */
  notes: number;
  /** Findings that were acknowledged before. */
  acknowledged: number;
  /**
   * At level `deep`: faults that were not told, because no block in the whole
   * store has the protocol's hashes, or names the one before it.
   */
  unjudged: number;
  /** How long it took. */
  seconds: number;
}

/** A 64-bit number as JSON can hold it without a loss. */
export function detail(value: bigint | null): number | string | null {
  if (value === null) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** Reads back what {@linkcode detail} has made; undefined for anything else. */
export function bigintDetail(
  value: FindingDetail | undefined,
): bigint | undefined {
  if (typeof value === "number" && Number.isSafeInteger(value)) {
    return BigInt(value);
  }
  return typeof value === "string" && /^-?\d{1,19}$/.test(value)
    ? BigInt(value)
    : undefined;
}

/** The details that say where in its stream or schema a finding is. */
const subjects = ["table", "column", "suffix", "block", "from"];

/**
 * Tells findings apart: two that have the same key are about the same thing, even
 * when the stream has grown in between.
 */
export function findingKey(
  { finding, streamId, details }: Pick<
    Finding,
    "finding" | "streamId" | "details"
  >,
): string {
  const at = subjects.map((name) => details[name] ?? null);
  return JSON.stringify([finding, streamId, ...at]);
}
