/**
 * Fails over under Patroni, again and again, with stores under load: nothing
 * acknowledged may be lost with synchronous replication. See `usage` in
 * failover/patroni/arguments.ts.
 *
 * ```sh
 * deno run -A scripts/failover_patroni.ts --failovers 10 --seed 1 --json
 * bun scripts/failover_patroni.ts --scenario switchover --failovers 4
 * ```
 */
import process from "node:process";
import { readArguments, usage } from "./failover/patroni/arguments.ts";
import { failOverWithPatroni } from "./failover/patroni/run.ts";
import { formatReport } from "./failover/patroni/table.ts";

async function main(): Promise<number> {
  let options;
  try {
    options = readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const report = await failOverWithPatroni({
    ...options,
    onStep: (text) => console.error(text),
  });
  console.log(options.json ? JSON.stringify(report) : formatReport(report));
  return report.lostInSync > 0 || report.faults.length > 0 ? 1 : 0;
}

process.exitCode = await main();
