/**
 * Checks that acknowledged writes are durable: crashes the server, the writer
 * or the network between them, again and again. See `usage` in
 * crash/arguments.ts.
 *
 * ```sh
 * deno task crash --kills 50
 * bun scripts/crash.ts --victim writer
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { readArguments, usage } from "./crash/arguments.ts";
import { crashNetwork } from "./crash/crash_network.ts";
import { crashServer } from "./crash/crash_server.ts";
import { crashWriter } from "./crash/crash_writer.ts";
import { BrokenPromise } from "./crash/ledger.ts";
import type { CrashReport } from "./crash/run.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  const run = crashes[options.victim];
  try {
    const report = await run({
      ...options,
      onKill: (nth) => console.error(`Kill ${nth} of ${options.kills}`),
    });
    console.log(options.json ? JSON.stringify(report) : format(report));
    return 0;
  } catch (error) {
    if (!(error instanceof BrokenPromise)) throw error;
    console.error(error.message);
    return 1;
  }
}

const crashes = {
  server: crashServer,
  writer: crashWriter,
  network: crashNetwork,
};

function format(report: CrashReport): string {
  const { kills, killsInRecovery, takeovers, calls, checks } = report;
  const { fromAlive, fromFrozen } = takeovers;
  const { there, absent } = calls.unknown;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const writer =
    `${kills} writers killed, ${fromAlive} of them overtaken alive, ` +
    `${fromFrozen} while frozen`;
  const server = `${kills} kills of the server, ${killsInRecovery} of them ` +
    "while it recovered";
  const network = `${kills} partitions, ${report.cutsOfConnections} of them ` +
    "of single connections";
  return [
    { server, writer, network }[report.victim],
    `${calls.acknowledged} writes acknowledged, ${calls.failed} failed, ` +
    `${there + absent} unknown (${there} there, ${absent} absent)`,
    `${checks.rounds} checks of ${checks.streams} streams, ${checks.rows} ` +
    `rows, ${(checks.bytes / 1e6).toFixed(1)} MB: all as it was acknowledged`,
    `longest wait of a caller ${seconds(report.longestStallMs)}, longest ` +
    `recovery ${seconds(report.longestRecoveryMs)}`,
    `${seconds(report.elapsedMs)} in all, seed ${report.seed}`,
  ].join("\n");
}

process.exitCode = await runProgram({ usage, readArguments, run: main });
