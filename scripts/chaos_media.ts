/**
 * Checks that media streams lose nothing, and that nothing unneeded remains,
 * whatever happens to the processes and to their bucket. See `usage` in
 * chaos_media/arguments.ts.
 *
 * ```sh
 * deno task chaos:media --rounds 200 --seed 7
 * deno run -A scripts/with_postgres.ts bun scripts/chaos_media.ts
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { readArguments, usage } from "./chaos_media/arguments.ts";
import { type ChaosReport, runChaos } from "./chaos_media/run.ts";

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  let shown = 0;
  const report = await runChaos({
    ...options,
    onRound: (round, { kills, takeovers, broken, rssMb }) => {
      const heap = Math.round(process.memoryUsage().heapUsed / 1e6);
      const text = `Round ${round}: ${kills} kills, ${takeovers} takeovers, ` +
        `memory ${rssMb.end} MB, heap ${heap} MB`;
      console.error([text, ...broken.slice(shown)].join("\n"));
      shown = broken.length;
    },
  });
  console.log(options.json ? JSON.stringify(report) : format(report));
  return report.broken.length === 0 ? 0 : 1;
}

function format(report: ChaosReport): string {
  const { calls, faults, rssMb, trimmed, broken } = report;
  const line = (name: string, counts: Record<string, number>) =>
    `  ${name.padEnd(16)} ` +
    Object.entries(counts).map(([key, n]) => `${key} ${n}`).join(", ");
  return [
    `${report.rounds} rounds, ${report.kills} kills, ${report.takeovers} ` +
    `takeovers, ${report.ends} orderly ends, ${report.seconds} s, seed ` +
    report.seed,
    `${report.acknowledgedBlocks} blocks acknowledged, ` +
    `${report.comparedBlocks} read back and compared`,
    `${trimmed.blocks} blocks and ${trimmed.snapshots} snapshots trimmed ` +
    `in the rounds, ${report.trimmedByCheck.blocks} and ` +
    `${report.trimmedByCheck.snapshots} by the check`,
    `${report.requests} requests, of which these failed`,
    line("", faults),
    "calls",
    ...Object.entries(calls).map(([name, counts]) => line(name, counts)),
    `memory ${rssMb.start} MB, at the end ${rssMb.end} MB; processes up to ` +
    `${report.childRssMb} MB`,
    broken.length === 0 ? "All is as it was acknowledged" : broken.join("\n"),
  ].join("\n");
}

process.exitCode = await runProgram({ usage, readArguments, run: main });
