/** Findings that are known already and need not be reported again. */

import { invalidArgument } from "../../storage/fault.ts";
import { type Finding, findingKey } from "./findings.ts";

/**
 * Reads findings from JSON lines, as a verification prints them. It skips the
 * summary and empty lines.
 *
 * @throws {StreamStorageError} `INVALID_ARGUMENT` for any other line.
 */
export function parseFindings(lines: string): Finding[] {
  return lines.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const value = parse(line, i + 1);
    return "summary" in value ? [] : [asFinding(value, i + 1)];
  });
}

/** Whether a finding is one of those given. */
export function acknowledging(
  known: readonly Finding[] | undefined,
): (finding: Finding) => boolean {
  const keys = new Set(known?.map(findingKey));
  return (finding) => keys.has(findingKey(finding));
}

function parse(line: string, number: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) {
      return value as Record<string, unknown>;
    }
  } catch {
    // The code below throws the error.
  }
  throw badLine(number);
}

function asFinding(value: Record<string, unknown>, number: number): Finding {
  const { severity, finding, streamId, details } = value;
  const isFinding = typeof severity === "string" &&
    typeof finding === "string" &&
    (streamId === null || typeof streamId === "string") &&
    typeof details === "object" && details !== null;
  if (!isFinding) throw badLine(number);
  return value as unknown as Finding;
}

function badLine(number: number) {
  return invalidArgument({
    argument: "findings",
    reason: "bad_finding",
    rule: "must be JSON lines that verify has printed, but line " +
      `${number} is none`,
  });
}
