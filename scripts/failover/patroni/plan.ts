/** Plans which failovers to make, and in which order. */
import { Random } from "../../../tests/support/random.ts";

/** What happens to the primary. */
export const scenarioNames = [
  "postgres-killed",
  "both-killed",
  "switchover",
  "etcd-cut",
  "patroni-frozen",
] as const;

/** One of {@linkcode scenarioNames}. */
export type ScenarioName = typeof scenarioNames[number];

/** Patroni's `synchronous_mode`. */
export const modes = ["sync", "async"] as const;

/** One of {@linkcode modes}. */
export type Mode = typeof modes[number];

/** One failover. */
export interface Step {
  scenario: ScenarioName;
  mode: Mode;
}

/** Plans failovers in random order, each combination as often as the others. */
export function planSteps(
  { failovers, scenarios, modes, seed }: {
    failovers: number;
    scenarios: readonly ScenarioName[];
    modes: readonly Mode[];
    seed: string;
  },
): Step[] {
  const random = new Random(`${seed}:plan`);
  const steps: Step[] = [];
  while (steps.length < failovers) {
    const left = modes.flatMap((mode) =>
      scenarios.map((scenario) => ({ scenario, mode }))
    );
    while (left.length > 0) {
      steps.push(...left.splice(random.between(0, left.length - 1), 1));
    }
  }
  return steps.slice(0, failovers);
}
