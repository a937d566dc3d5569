/**
 * Fails over under Patroni, again and again, while stores are under load. With
 * synchronous replication no acknowledged write may be lost. See `usage` in
 * failover/patroni/arguments.ts.
 *
 * ```sh
 * deno run -A scripts/failover_patroni.ts --failovers 10 --seed 1 --json
 * bun scripts/failover_patroni.ts --scenario switchover --failovers 4
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { readArguments, usage } from "./failover/patroni/arguments.ts";
import { failOverWithPatroni } from "./failover/patroni/run.ts";
import { formatReport } from "./failover/patroni/table.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  const report = await failOverWithPatroni({
    ...options,
    onStep: (text) => console.error(text),
  });
  console.log(options.json ? JSON.stringify(report) : formatReport(report));
  return report.lostInSync > 0 || report.faults.length > 0 ? 1 : 0;
}

process.exitCode = await runProgram({ usage, readArguments, run: main });
