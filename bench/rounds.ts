/**
 * Rounds: in each one every contender of every workload is measured once, next
 * to those that it is compared with, so that whatever else the machine does
 * falls on all of them. A ratio is taken within its round; what is reported is
 * the median of the rounds and how far they lie apart.
 */

import { type Effort, measure, median } from "./measure.ts";
import type { Contender, Goal, Measurement, Workload } from "./workload.ts";

/** What a contender did, round by round; empty where its tool is missing. */
export interface ContenderResult {
  name: string;
  rounds: Measurement[];
}

/** A goal and what became of it. */
export interface RatioResult extends Goal {
  /** Absent where one side was not measured. */
  measured?: { median: number; min: number; max: number; rounds: number[] };
  /** Absent where nothing is demanded or nothing was measured. */
  holds?: boolean;
}

/** A row of the table. */
export interface WorkloadResult {
  id: string;
  title: string;
  unit: string;
  contenders: ContenderResult[];
  ratios: RatioResult[];
}

/** How a run goes. */
export interface RunOptions extends Effort {
  rounds: number;
  /** Seconds for which each contender runs before the first round. */
  warmUpSeconds: number;
  onProgress(text: string): void;
}

/** Runs the rounds. */
export async function runRounds(
  workloads: readonly Workload[],
  options: RunOptions,
): Promise<WorkloadResult[]> {
  const results = workloads.map(({ id, title, unit, contenders }) => ({
    id,
    title,
    unit,
    contenders: contenders.map(({ name }): ContenderResult => ({
      name,
      rounds: [],
    })),
  }));
  const turn = (label: string, contender: Contender, seconds: number) => {
    options.onProgress(`${label}, ${contender.name}`);
    return measure(contender, { ...options, seconds });
  };
  for (const { id, contenders } of workloads) {
    for (const contender of contenders) {
      await turn(`warm-up, ${id}`, contender, options.warmUpSeconds);
    }
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const [row, { id, contenders }] of workloads.entries()) {
      for (const at of order(contenders.length, round)) {
        const label = `round ${round + 1} of ${options.rounds}, ${id}`;
        const found = await turn(label, contenders[at]!, options.seconds);
        if (found) results[row]!.contenders[at]!.rounds.push(found);
      }
    }
  }
  return results.map((result, row) => ({
    ...result,
    ratios: workloads[row]!.goals.map((goal) => judge(goal, result.contenders)),
  }));
}

/** Forwards and backwards in turn, so that nobody is always behind another. */
function order(count: number, round: number): number[] {
  const forwards = Array.from({ length: count }, (_, i) => i);
  return round % 2 === 0 ? forwards : forwards.reverse();
}

/** Compares two contenders round by round. */
export function judge(
  goal: Goal,
  contenders: readonly ContenderResult[],
): RatioResult {
  const roundsOf = (name: string) =>
    contenders.find((contender) => contender.name === name)?.rounds ?? [];
  const of = roundsOf(goal.of);
  const to = roundsOf(goal.to);
  if (of.length === 0 || of.length !== to.length) return goal;
  const rounds = of.map((measurement, i) => {
    const ratio = measurement.operationsPerSecond / to[i]!.operationsPerSecond;
    return goal.measure === "throughput" ? ratio : 1 / ratio;
  });
  const middle = median(rounds);
  const { atLeast, atMost } = goal;
  const isDemanded = atLeast !== undefined || atMost !== undefined;
  return {
    ...goal,
    measured: {
      median: middle,
      min: Math.min(...rounds),
      max: Math.max(...rounds),
      rounds,
    },
    ...(isDemanded
      ? { holds: middle >= (atLeast ?? 0) && middle <= (atMost ?? Infinity) }
      : {}),
  };
}
