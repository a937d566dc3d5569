import type { Intent, Step } from "./steps.ts";

/** A failing sequence, and its error. */
export interface Failing {
  steps: readonly Step[];
  error: unknown;
}

/**
 * Removes from a failing sequence what the failure does not need: first steps,
 * many at a time before single ones, then calls that are issued together, then
 * rolls. Ends when nothing more can be removed, or after a time.
 *
 * Each attempt runs a sequence against the server, and a random sequence contains
 * much that the failure does not need. fast-check's own shrinking, which does not
 * know what to try first, takes minutes.
 *
 * @param run Runs a sequence; returns the error if it fails.
 */
export async function reduceSequence(
  found: Failing,
  run: (steps: readonly Step[]) => Promise<unknown>,
  withinMs: number,
): Promise<Failing> {
  const latest = performance.now() + withinMs;
  let best = found;
  const fails = async (steps: readonly Step[]): Promise<boolean> => {
    if (performance.now() > latest) return false;
    const error = await run(steps);
    if (error === undefined) return false;
    best = { steps, error };
    return true;
  };
  for (let before = Infinity; sizeOf(best.steps) < before;) {
    before = sizeOf(best.steps);
    for (let n = best.steps.length; n >= 1; n = Math.floor(n / 2)) {
      // It goes from the end, because the steps after the failure go first.
      for (let at = best.steps.length - n; at > -n; at -= n) {
        await fails(best.steps.toSpliced(Math.max(at, 0), n));
      }
    }
    for (let at = best.steps.length - 1; at >= 0; at--) {
      for (let n = 0; n < variantsOf(best.steps[at]!).length;) {
        const variant = variantsOf(best.steps[at]!)[n]!;
        // After a success, try the variants of the smaller step.
        if (!await fails(best.steps.with(at, variant))) n++;
      }
    }
  }
  return best;
}

/** The smaller variants of a step, the smallest first. */
function variantsOf(step: Step): Step[] {
  switch (step.kind) {
    case "call":
      return smallerIntents(step.intent)
        .map((intent) => ({ ...step, intent }));
    case "batch": {
      const { intents } = step;
      if (intents.length === 1) {
        return [{ kind: "call", intent: intents[0]! }];
      }
      return [
        ...intents.map((_, at) => ({
          ...step,
          intents: intents.toSpliced(at, 1),
        })),
        ...intents.flatMap((intent, at) =>
          smallerIntents(intent).map((smaller) => ({
            ...step,
            intents: intents.with(at, smaller),
          }))
        ),
      ];
    }
    case "plant":
      return smallerRolls(step.rolls).map((rolls) => ({ ...step, rolls }));
    case "reopen":
      return [];
  }
}

function smallerIntents(intent: Intent): Intent[] {
  return smallerRolls(intent.rolls).map((rolls) => ({ ...intent, rolls }));
}

/** Shorter rolls, and rolls of 0, which are the same as none. */
function smallerRolls(rolls: readonly number[]): number[][] {
  if (rolls.length === 0) return [];
  const half = Math.floor(rolls.length / 2);
  return [
    [],
    rolls.slice(0, half),
    rolls.slice(0, -1),
    ...rolls.flatMap((roll, at) => roll === 0 ? [] : [rolls.with(at, 0)]),
  ];
}

/** The size of a sequence, which everything in it increases. */
function sizeOf(steps: readonly Step[]): number {
  return JSON.stringify(steps).replaceAll(/\b0\b/g, "").length;
}
