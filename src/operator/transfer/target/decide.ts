import type { Comparison } from "../compare/compare_stream.ts";
import { describeComparison } from "../compare/reasons.ts";
import { ProblemError } from "../problem.ts";
import type { WriteDecision } from "./write_stream.ts";

/**
 * How a stream that is there is brought up to another.
 *
 * @throws {ProblemError} it can't be without taking something away.
 */
export function decisionOf(comparison: Comparison): WriteDecision {
  const { status, right } = comparison;
  if (status === "behind") return { mode: "extend", stored: right.last };
  throw new ProblemError(
    status === "forked" ? "forked" : "ahead",
    describeComparison(comparison),
  );
}
