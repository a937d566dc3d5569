import type { Mode } from "./pair.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import { Trial, type TrialOptions } from "./trial.ts";
import { judge, type Outcome } from "./verdict.ts";

/** Which failovers to run. */
export interface FailoverOptions {
  /** The names of the scenarios; default: all. */
  scenarios?: readonly string[];
  /** Default: all modes of the scenario. */
  modes?: readonly Mode[];
  /** Runs of each scenario in each mode. */
  runs: number;
  seed: string;
  streams: number;
  /** Called after each failover. */
  onOutcome?(outcome: Outcome): void;
}

/** Runs the failovers, one after another. */
export async function failOver(options: FailoverOptions): Promise<Outcome[]> {
  const names = options.scenarios ?? Object.keys(scenarios);
  const outcomes: Outcome[] = [];
  for (const name of names) {
    const scenario = scenarios[name]!;
    const modes = scenario.modes.filter((mode) =>
      options.modes?.includes(mode) ?? true
    );
    for (const mode of modes) {
      for (let nth = 0; nth < options.runs; nth++) {
        const trial = trialOf(name, scenario, mode, nth, options);
        const outcome = await runTrial(trial);
        outcomes.push(outcome);
        options.onOutcome?.(outcome);
      }
    }
  }
  return outcomes;
}

function trialOf(
  name: string,
  { orders }: Scenario,
  mode: Mode,
  nth: number,
  { seed, streams }: FailoverOptions,
): TrialOptions {
  return {
    scenario: name,
    mode,
    order: orders[nth % orders.length]!,
    // Two runs try both variants; four try both in either order of the hosts.
    variant: (nth + Math.floor(nth / 2)) % 2 === 0 ? 0 : 1,
    seed: `${seed}:${name}:${mode}:${nth}`,
    streams,
  };
}

/** Runs one failover. */
export async function runTrial(options: TrialOptions): Promise<Outcome> {
  const scenario = scenarios[options.scenario]!;
  const startedAt = performance.now();
  await using trial = await Trial.start(options);
  await scenario.run(trial);
  return await judge(trial, scenario.mayLose(options.mode), startedAt);
}
