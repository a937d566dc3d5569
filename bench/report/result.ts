import type { Surroundings } from "../machine.ts";
import type { WorkloadResult } from "../rounds.ts";
import type { StatementMemory } from "../statement_memory.ts";

/** A run, as it is written to JSON. */
export interface BenchResult {
  surroundings: Surroundings;
  rounds: number;
  seconds: number;
  workloads: WorkloadResult[];
  /** Absent where only some rows were asked for. */
  statementMemory?: StatementMemory[];
}
