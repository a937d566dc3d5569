import type { Environment } from "../environment.ts";
import type { WorkloadResult } from "../rounds.ts";
import type { StatementMemory } from "../statement_memory.ts";

/** The result of a run, as `results.json` holds it. */
export interface BenchResult {
  environment: Environment;
  rounds: number;
  seconds: number;
  workloads: WorkloadResult[];
  /** Absent if the options select rows. */
  statementMemory?: StatementMemory[];
}
