/**
 * Checks that acknowledged writes survive a failover: fails over to a streaming
 * standby, in correct ways and in ways that go wrong. See `usage` in
 * failover/arguments.ts.
 *
 * ```sh
 * deno task failover --scenario crash --runs 20
 * bun scripts/failover.ts --scenario frozen --mode sync
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { readArguments, usage } from "./failover/arguments.ts";
import { whyNoFailover } from "./failover/requirements.ts";
import { format } from "./failover/report.ts";
import { failOver } from "./failover/run.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  const why = whyNoFailover();
  if (why !== undefined) {
    console.error(`This machine cannot fail over: ${why}`);
    return 2;
  }
  const outcomes = await failOver({
    ...options,
    onOutcome: ({ scenario, mode, order, faults, elapsedMs }) =>
      console.error(
        `${scenario} ${mode}, ${order}: ` +
          `${faults.length === 0 ? "right" : "WRONG"}, ` +
          `${(elapsedMs / 1000).toFixed(1)} s`,
      ),
  });
  console.log(options.json ? JSON.stringify(outcomes) : format(outcomes));
  return outcomes.every(({ faults }) => faults.length === 0) ? 0 : 1;
}

process.exitCode = await runProgram({ usage, readArguments, run: main });
