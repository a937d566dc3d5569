import { tmpdir } from "node:os";
import { StreamStorageError } from "../storage/errors.ts";

const operation = "startEmbeddedPostgres";

/** Makes a failure; `reason` is a stable word. */
type MakeFailure = (
  reason: string,
  message: string,
  details?: Record<string, unknown>,
  cause?: unknown,
) => StreamStorageError;

/** The caller's request can't be fulfilled. */
export const badConfig: MakeFailure = failuresOf("BAD_CONFIG");

/** The server did not start or did not stop. */
export const unavailable: MakeFailure = failuresOf("UNAVAILABLE");

function failuresOf(code: "BAD_CONFIG" | "UNAVAILABLE"): MakeFailure {
  return (reason, message, details = {}, cause) =>
    new StreamStorageError({
      code,
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
