/** Why the fence lets nothing pass; the caller's own write was not sent. */
import {
  StreamStorageError,
  type StreamStorageOutcome,
} from "../storage/errors.ts";

/** Our row is gone: another instance owns the schema. */
export class FenceClosedError extends Error {
  override readonly name = "FenceClosedError";

  constructor() {
    super("Expected our row to be the only one in singlenodekey");
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

/** The reason for which an instance stops for good. */
export function ownershipLost(
  outcome: StreamStorageOutcome = "rolled_back",
  cause?: unknown,
): StreamStorageError {
  return new StreamStorageError({
    code: "RESOURCE_EXHAUSTED",
    message: "Another instance owns the schema now, this one must stop",
    details: { reason: "ownership_lost" },
    outcome,
    cause,
  });
}
