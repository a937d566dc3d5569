/** Puts a comparison into words. */

import type { Comparison, StreamOutline } from "./compare_stream.ts";

/** Says in words what differs. */
export function describeComparison(
  { status, left, right, forkedAt, missing, firstMissing, extra }: Comparison,
): string {
  if (status === "forked") return `Block ${forkedAt} has other bytes`;
  const parts: string[] = [];
  if (missing > 0) {
    parts.push(`lacks ${missing} blocks or snapshots from ${firstMissing} on`);
  }
  if (extra > 0) parts.push(`has ${extra} more blocks or snapshots`);
  if (left.kind !== right.kind) {
    parts.push(`is ${right.kind}, not ${left.kind}`);
  }
  if (left.latestSnapshot !== right.latestSnapshot) {
    parts.push(
      `has its latest snapshot at ${right.latestSnapshot}, not at ` +
        `${left.latestSnapshot}`,
    );
  }
  if (left.last === right.last) {
    for (const part of ["minipool", "candidates"] as const) {
      if (!isSame(left, right, part)) parts.push(`has other ${part}`);
    }
  }
  return parts.length === 0 ? "Nothing differs" : sentence(parts.join(", "));
}

function isSame(
  left: StreamOutline,
  right: StreamOutline,
  part: "minipool" | "candidates",
): boolean {
  return left[part].join() === right[part].join();
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
