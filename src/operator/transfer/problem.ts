import { StreamStorageError } from "../../storage/errors.ts";
import { brokenStream } from "./format/rules.ts";
import type { StreamProblem } from "./options.ts";

/** A problem of one stream, because of which the stream is left as it is. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: StreamProblem["problem"];

  constructor(problem: StreamProblem["problem"], what: string) {
    super(what);
    this.problem = problem;
  }
}

/** The failures that concern one stream, by their reasons. */
const byReason: Readonly<Record<string, StreamProblem["problem"]>> = {
  [brokenStream]: "broken",
  bad_stream_id: "bad_id",
  stream_exists: "exists",
  stream_moved: "differs",
  stored_externally: "outside",
  media_storage_not_configured: "outside",
};

/**
 * Returns the problem that keeps a stream from being transferred. Undefined:
 * the error concerns the whole run, and every other stream would meet it, too.
 */
export function problemOf(error: unknown): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (!(error instanceof StreamStorageError)) return undefined;
  const { code, message, details } = error;
  const problem = byReason[String(details.reason)] ??
    // The stream's object does not exist.
    (code === "MINIBLOCKS_NOT_FOUND" ? "outside" : undefined);
  return problem && new ProblemError(problem, message);
}
