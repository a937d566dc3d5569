/** How far a verification has come: small, and plain JSON. */

import { invalidArgument } from "../../storage/fault.ts";
import type { VerifySummary } from "./findings.ts";
import type { VerifyLevel } from "./level.ts";

/** What a run that goes on where another has ended needs of it. */
export interface VerifyState {
  /** Of this layout. */
  version: 1;
  /** A run at another level can't go on with it. */
  level: VerifyLevel;
  /** Nor can one of another schema. */
  schema: string;
  /** The catalogue was compared. */
  isCatalogueDone: boolean;
  /** The parts that are done. */
  done: string[];
  /** How far those have come that are not. */
  cursors: Record<string, string>;
  /** At level `deep`: what has shown that the protocol's rules apply. */
  seen: { hashes: boolean; links: boolean };
  /** What was counted up to here. */
  counts: VerifySummary;
}

/** The state of a run that has not begun. */
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
 * A copy of a state that fits, to go on with.
 *
 * @throws {StreamStorageError} `INVALID_ARGUMENT`: it is of another run.
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
