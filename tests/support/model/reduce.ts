import type { Intent, Step } from "./steps.ts";

/** A sequence that fails, and how. */
export interface Failing {
  steps: readonly Step[];
  error: unknown;
}

/**
 * Leaves out of a failing sequence what it fails without: steps, many at a
 * time before single ones, then calls that are issued together, then what the
 * calls are made from. Ends when nothing can go any more, or after a time.
 *
 * Each attempt runs a sequence against the server, and most of what a random
 * one has in it is needed for nothing: fast-check's own shrinking, which knows
 * no order of what to try, takes minutes.
 *
 * @param run Runs a sequence; the error if it fails.
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
      // From the end: what comes behind the failure goes at once.
      for (let at = best.steps.length - n; at > -n; at -= n) {
        await fails(best.steps.toSpliced(Math.max(at, 0), n));
      }
    }
    for (let at = best.steps.length - 1; at >= 0; at--) {
      for (let n = 0; n < variantsOf(best.steps[at]!).length;) {
        const variant = variantsOf(best.steps[at]!)[n]!;
        // After a success the smaller step has variants of its own.
        if (!await fails(best.steps.with(at, variant))) n++;
      }
    }
  }
  return best;
}

/** Smaller steps, the smallest first. */
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

/** Rolls of 0, which are as good as none, choose what is usual. */
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

/** Smaller for everything that is left out. */
function sizeOf(steps: readonly Step[]): number {
  return JSON.stringify(steps).replaceAll(/\b0\b/g, "").length;
}
