import type { Comparison } from "../compare/compare_stream.ts";
import { describeComparison } from "../compare/reasons.ts";
import { ProblemError } from "../problem.ts";
import type { WriteDecision } from "./write_stream.ts";

/**
 * Decides how an existing stream is brought up to another.
 *
 * @throws {ProblemError} that would remove something from the stream.
 */
export function decisionOf(comparison: Comparison): WriteDecision {
  const { status, right } = comparison;
  if (status === "behind") return { mode: "extend", stored: right.last };
  throw new ProblemError(
    status === "forked" ? "forked" : "ahead",
    describeComparison(comparison),
  );
}
