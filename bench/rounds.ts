/**
 * Runs the rounds. Each round measures every variant of every workload once,
 * next to the variants that it is compared with. Other work on the machine
 * therefore slows all of them. Ratios are taken within a round; the result has
 * the median of the rounds and their spread.
 */

import { type Effort, measure, median } from "./measure.ts";
import type { Goal, Measurement, Variant, Workload } from "./workload.ts";

/**
 * A variant's measurements, one for each round; none if its tool is missing.
 */
export interface VariantResult {
  name: string;
  rounds: Measurement[];
}

/** A goal and the ratio that was measured. */
export interface RatioResult extends Goal {
  /** Absent if one of the two variants was not measured. */
  measured?: { median: number; min: number; max: number; rounds: number[] };
  /** Absent if the goal demands nothing, or if nothing was measured. */
  holds?: boolean;
}

/** The results of a workload. */
export interface WorkloadResult {
  id: string;
  title: string;
  unit: string;
  variants: VariantResult[];
  ratios: RatioResult[];
}

/** How long a run takes, and how it reports progress. */
export interface RunOptions extends Effort {
  rounds: number;
  /** How many seconds each variant runs before the first round. */
  warmUpSeconds: number;
  onProgress(text: string): void;
}

/** Warms up every variant, then runs the rounds. */
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

/**
 * Alternates the direction, so that no variant always runs after the same
 * other.
 */
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
