import { isStreamStorageError } from "../../../storage/errors.ts";
import type { StreamProblem } from "../options.ts";

/** A stream is left as it is. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: StreamProblem["problem"];

  constructor(problem: StreamProblem["problem"], what: string) {
    super(what);
    this.problem = problem;
  }
}

/** What keeps a stream from being written, if that is not a failure of the run. */
export function problemOf(error: unknown): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (isStreamStorageError(error, "BAD_STREAM_ID")) {
    return new ProblemError("bad_id", error.message);
  }
  return undefined;
}
