/** The findings of a verification, and their form. */

import type { StreamId } from "../../storage/stream_id.ts";

/** How serious a finding is. A note describes something unusual but allowed. */
export type FindingSeverity = "error" | "warning" | "note";

/** The kinds of findings; docs/runbook.md describes each. */
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
 * One finding. It holds names, numbers and sizes, never payload, and can be
 * written as JSON without conversion.
 */
export interface Finding {
  /** How serious it is. */
  readonly severity: FindingSeverity;
  /** The kind. */
  readonly finding: FindingCode;
  /** The stream; null if the finding is about the schema. */
  readonly streamId: StreamId | null;
  /** The finding in one sentence. */
  readonly what: string;
  /** The same facts for programs. */
  readonly details: Readonly<Record<string, FindingDetail>>;
}

/** Makes a finding about one stream. */
export type Report = (
  severity: Finding["severity"],
  finding: Finding["finding"],
  what: string,
  details?: Record<string, FindingDetail>,
) => void;

/** The totals of a verification. */
export interface VerifySummary {
  /** Rows of `es`. */
  streams: number;
  /** Blocks of these streams, in the database and in object storage. */
  blocks: number;
  /** Events in their minipools. */
  events: number;
  /** Errors, without acknowledged ones. */
  errors: number;
  /** Warnings, without acknowledged ones. */
  warnings: number;
  /** Notes, without acknowledged ones. */
  notes: number;
  /** Findings that were acknowledged before. */
  acknowledged: number;
  /**
   * At level `deep`: faults that were not reported, because no block in the
   * whole store has the protocol's hashes, or none names the one before it.
   */
  unjudged: number;
  /** Seconds that the verification took. */
  seconds: number;
}

/** A 64-bit number in a form that JSON can hold without loss. */
export function detail(value: bigint | null): number | string | null {
  if (value === null) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** Reads a value of {@linkcode detail} back; undefined for anything else. */
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

/** The details that locate a finding in its stream or schema. */
const subjects = ["table", "column", "suffix", "block", "from"];

/**
 * A key that identifies a finding. Two findings with the same key are about the
 * same fault, even if the stream has grown in between.
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
