import type { Environment } from "../environment.ts";
import type { WorkloadResult } from "../rounds.ts";

/** The result of a run, as `results.json` holds it. */
export interface BenchResult {
  environment: Environment;
  rounds: number;
  seconds: number;
  workloads: WorkloadResult[];
}
