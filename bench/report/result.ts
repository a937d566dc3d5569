import type { Environment } from "../environment.ts";
import type { WorkloadResult } from "../rounds.ts";
import type { StatementMemory } from "../statement_memory.ts";

/** A run, as it is written to JSON. */
export interface BenchResult {
  environment: Environment;
  rounds: number;
  seconds: number;
  workloads: WorkloadResult[];
  /** Absent where only some rows were asked for. */
  statementMemory?: StatementMemory[];
}
