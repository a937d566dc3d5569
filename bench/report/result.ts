import type { Surroundings } from "../machine.ts";
import type { WorkloadResult } from "../rounds.ts";

/** A run, as it is written to JSON. */
export interface BenchResult {
  surroundings: Surroundings;
  rounds: number;
  seconds: number;
  workloads: WorkloadResult[];
}
