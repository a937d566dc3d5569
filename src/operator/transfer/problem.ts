import { StreamStorageError } from "../../storage/errors.ts";
import { brokenStream } from "./format/rules.ts";
import type { StreamProblem } from "./options.ts";

/** A stream is left as it is. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: StreamProblem["problem"];

  constructor(problem: StreamProblem["problem"], what: string) {
    super(what);
    this.problem = problem;
  }
}

/** Failures that are of one stream, by their reasons. */
const byReason: Readonly<Record<string, StreamProblem["problem"]>> = {
  [brokenStream]: "broken",
  bad_stream_id: "bad_id",
  stream_exists: "exists",
  stream_moved: "differs",
  stored_externally: "outside",
  media_storage_not_configured: "outside",
};

/**
 * What keeps a stream from being moved. Undefined: it is a failure of the run,
 * which all other streams would meet, too.
 */
export function problemOf(error: unknown): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (!(error instanceof StreamStorageError)) return undefined;
  const { code, message, details } = error;
  const problem = byReason[String(details.reason)] ??
    // Its object is not there.
    (code === "MINIBLOCKS_NOT_FOUND" ? "outside" : undefined);
  return problem && new ProblemError(problem, message);
}
