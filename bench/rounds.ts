/**
 * Rounds: in each one every variant of every workload is measured once, next
 * to those that it is compared with, so that whatever else the machine does
 * falls on all of them. A ratio is taken within its round; what is reported is
 * the median of the rounds and how far they lie apart.
 */

import { type Effort, measure, median } from "./measure.ts";
import type { Goal, Measurement, Variant, Workload } from "./workload.ts";

/** What a variant did, round by round; empty where its tool is missing. */
export interface VariantResult {
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
  variants: VariantResult[];
  ratios: RatioResult[];
}

/** How a run goes. */
export interface RunOptions extends Effort {
  rounds: number;
  /** Seconds for which each variant runs before the first round. */
  warmUpSeconds: number;
  onProgress(text: string): void;
}

/** Runs the rounds. */
export async function runRounds(
  workloads: readonly Workload[],
  options: RunOptions,
): Promise<WorkloadResult[]> {
  const results = workloads.map(({ id, title, unit, variants }) => ({
    id,
    title,
    unit,
    variants: variants.map(({ name }): VariantResult => ({
      name,
      rounds: [],
    })),
  }));
  const turn = (label: string, variant: Variant, seconds: number) => {
    options.onProgress(`${label}, ${variant.name}`);
    return measure(variant, { ...options, seconds });
  };
  for (const { id, variants } of workloads) {
    for (const variant of variants) {
      await turn(`warm-up, ${id}`, variant, options.warmUpSeconds);
    }
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const [row, { id, variants }] of workloads.entries()) {
      for (const at of order(variants.length, round)) {
        const label = `round ${round + 1} of ${options.rounds}, ${id}`;
        const found = await turn(label, variants[at]!, options.seconds);
        if (found) results[row]!.variants[at]!.rounds.push(found);
      }
    }
  }
  return results.map((result, row) => ({
    ...result,
    ratios: workloads[row]!.goals.map((goal) => judge(goal, result.variants)),
  }));
}

/** Forwards and backwards in turn, so that nobody is always behind another. */
function order(count: number, round: number): number[] {
  const forwards = Array.from({ length: count }, (_, i) => i);
  return round % 2 === 0 ? forwards : forwards.reverse();
}

/** Compares two variants round by round. */
export function judge(
  goal: Goal,
  variants: readonly VariantResult[],
): RatioResult {
  const roundsOf = (name: string) =>
    variants.find((variant) => variant.name === name)?.rounds ?? [];
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
