/** The state of a verification, which is small and plain JSON. */

import { invalidArgument } from "../../storage/fault.ts";
import type { VerifySummary } from "./findings.ts";
import type { VerifyLevel } from "./level.ts";

/** The state from which a later run can continue. */
export interface VerifyState {
  /** The version of this layout. */
  version: 1;
  /** The level. A run at another level can't continue. */
  level: VerifyLevel;
  /** The schema. A run over another schema can't continue. */
  schema: string;
  /** Whether the catalogue was compared. */
  isCatalogueDone: boolean;
  /** The parts that are done. */
  done: string[];
  /** How far the other parts have come. */
  cursors: Record<string, string>;
  /**
   * At level `deep`: whether anything has shown that the protocol's rules
   * apply.
   */
  seen: { hashes: boolean; links: boolean };
  /** The totals up to here. */
  counts: VerifySummary;
}

/** Makes the state of a run that has not begun. */
export function newState(
  { level, schema }: Pick<VerifyState, "level" | "schema">,
): VerifyState {
  return {
    version: 1,
    level,
    schema,
    isCatalogueDone: false,
    done: [],
    cursors: {},
    seen: { hashes: false, links: false },
    counts: {
      streams: 0,
      blocks: 0,
      events: 0,
      errors: 0,
      warnings: 0,
      notes: 0,
      acknowledged: 0,
      unjudged: 0,
      seconds: 0,
    },
  };
}

/**
 * Copies a state, to continue from it.
 *
 * @throws {StreamStorageError} `INVALID_ARGUMENT`: the state belongs to a run
 *   with other options.
 */
export function resumedState(
  given: VerifyState,
  { level, schema }: Pick<VerifyState, "level" | "schema">,
): VerifyState {
  const fits = given.version === 1 && given.level === level &&
    given.schema === schema && Array.isArray(given.done) &&
    [given.cursors, given.seen, given.counts].every((part) =>
      typeof part === "object" && part !== null
    );
  if (fits) return structuredClone(given);
  throw invalidArgument({
    argument: "resume",
    reason: "other_run",
    rule: `must be the state of a run at level ${level} of this schema`,
  });
}
