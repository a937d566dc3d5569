import { tmpdir } from "node:os";
import { StreamStorageError } from "../storage/errors.ts";

const operation = "startEmbeddedPostgres";

/** The caller's request can't be fulfilled; `reason` is a stable word. */
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

/** The directory for temporary files can't hold the server's files. */
export function tmpUnusable(why: string, cause?: unknown): StreamStorageError {
  return badConfig(
    "temporary_directory_unusable",
    `Cannot start the embedded PostgreSQL: TMPDIR must be a directory that can hold its files, received ${tmpdir()}: ${why}`,
    { temporaryDirectory: tmpdir() },
    cause,
  );
}
