import { StreamStorageError } from "../storage/errors.ts";

const operation = "startEmbeddedPostgres";

/** The caller asked for what cannot be done; `reason` is a stable word. */
export function badConfig(
  reason: string,
  message: string,
  details: Record<string, unknown> = {},
  cause?: unknown,
): StreamStorageError {
  return new StreamStorageError({
    code: "BAD_CONFIG",
    operation,
    message,
    details: { reason, ...details },
    cause,
  });
}

/** The server did not start or did not stop; `reason` is a stable word. */
export function unavailable(
  reason: string,
  message: string,
  details: Record<string, unknown> = {},
  cause?: unknown,
): StreamStorageError {
  return new StreamStorageError({
    code: "UNAVAILABLE",
    operation,
    message,
    details: { reason, ...details },
    cause,
  });
}

/** The text of any thrown value, for the end of a message. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
