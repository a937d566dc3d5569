/** Why the fence stopped something; the caller's own write was not sent. */
import { quoted } from "../storage/foreign_text.ts";
import {
  StreamStorageError,
  type StreamStorageOutcome,
} from "../storage/errors.ts";

/** Our row is gone. */
export class FenceClosedError extends Error {
  override readonly name = "FenceClosedError";
  /** Whether another row is there, which is a successor's. */
  readonly isReplaced: boolean;

  constructor(isReplaced: boolean) {
    super("Expected our row to be the only one in singlenodekey");
    this.isReplaced = isReplaced;
  }
}

/** The epoch was not raised before the caller's deadline. */
export class FenceTimeoutError extends Error {
  override readonly name = "FenceTimeoutError";
  readonly waitedMs: number;

  constructor(waitedMs: number) {
    super(`Expected an earlier write's end to be known within ${waitedMs} ms`);
    this.waitedMs = waitedMs;
  }
}

/**
 * The error with which an instance stops for good. Without a successor's row,
 * ours was removed by hand, or a server took over that had not received it.
 */
export function ownershipLost(
  { isReplaced, outcome, cause }: {
    isReplaced: boolean;
    outcome?: StreamStorageOutcome;
    cause?: unknown;
  },
): StreamStorageError {
  return new StreamStorageError({
    code: "RESOURCE_EXHAUSTED",
    message: isReplaced
      ? "Another instance owns the schema now; this one must stop"
      : "The row of this instance is gone from singlenodekey and there is no " +
        "other, as after a failover that lost commits: this one must stop",
    details: { reason: "ownership_lost", isReplaced },
    ...(outcome === undefined ? {} : { outcome }),
    cause,
  });
}

/** A schema may not be taken from its owner; null: an owner without a row. */
export function schemaOwned(
  schema: string,
  owner: { name: string; since: string; info: string | null } | null,
): StreamStorageError {
  const owning = owner === null
    ? "another session, which has no row in singlenodekey"
    : `${quoted(owner.name)} since ${owner.since}`;
  return new StreamStorageError({
    code: "RESOURCE_EXHAUSTED",
    message: `Schema ${quoted(schema)} is owned by ${owning}`,
    details: { reason: "schema_owned", schema, owner },
    retryable: true,
  });
}

/** The caller has given up ownership; nothing was sent. */
export function ownershipReleased(): StreamStorageError {
  return new StreamStorageError({
    code: "FAILED_PRECONDITION",
    message: "Ownership of the schema was given up; this instance only reads",
    details: { reason: "ownership_released" },
  });
}
