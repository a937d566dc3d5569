/** A sample of all combinations, chosen by a seed. */
import { createHash } from "node:crypto";
import { type Combination, show } from "./combinations.ts";
import { combinationsOf, KNOWN_LOSSES } from "./known_losses.ts";

const ofEachScenario = 3;

/**
 * One combination of each known kind of loss, three of each scenario, and `size`
 * others. A seed chooses the same ones even after others were added.
 */
export function sampleOf(
  all: readonly Combination[],
  { seed, size }: { seed: string; size: number },
): Combination[] {
  const shuffled = all
    .map((combination) => ({ combination, rank: rank(seed, combination) }))
    .sort((a, b) => a.rank < b.rank ? -1 : 1)
    .map(({ combination }) => combination);
  const known = KNOWN_LOSSES.flatMap((loss) =>
    combinationsOf(loss, shuffled).slice(0, 1)
  );
  const byScenario = Map.groupBy(shuffled, ({ scenario }) => scenario);
  const accompanied = [...byScenario.values()].flatMap((combinations) =>
    combinations.slice(0, ofEachScenario)
  );
  const others = shuffled.slice(0, size);
  return [...new Set([...known, ...accompanied, ...others])];
}

function rank(seed: string, combination: Combination): string {
  return createHash("sha256").update(`${seed}:${show(combination)}`)
    .digest("hex");
}
