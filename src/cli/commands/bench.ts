/**
 * `bench --quick`: measures what a store can do on this server, and what limits
 * it.
 */

import type { BenchLine } from "../../operator/bench/latencies.ts";
import type { QuickBenchReport } from "../../operator/bench/options.ts";
import { quickBench } from "../../operator/bench/quick_bench.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatCount } from "../format.ts";
import { wrapped } from "../screen.ts";
import { serverOf, withServer } from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { integer } from "../values.ts";

const defaultSeconds = 20;

/** See the file's head. */
export function define(command: NewCommand): void {
  withServer(command)
    .option("--quick", "measure the calls that a node makes most")
    .option(
      "--seconds <number>",
      `how long to measure (default: ${defaultSeconds})`,
      integer("--seconds", { min: 1, max: 3600 }),
    )
    .addHelpText(
      "after",
      "\nWorks in a schema of its own and removes it on exit; the role\n" +
        "must be allowed to create a schema.\n" +
        examples("bench --quick", "bench --quick --seconds 5 --json"),
    )
    .action(run(async (cli, options) => {
      if (options.quick !== true) {
        throw new UsageError("Expected --quick: there is no other benchmark");
      }
      const url = await serverOf(options);
      const { seconds = defaultSeconds } = options;
      const report = await measure(cli, url, seconds);
      if (cli.isJson) await cli.document(report);
      else await show(cli, report);
      return 0;
    }));
}

async function measure(
  cli: Cli,
  url: string,
  seconds: number,
): Promise<QuickBenchReport> {
  using progress = cli.progress("Measuring", "steps");
  return await quickBench({
    url,
    seconds,
    signal: cli.signal,
    onProgress: (note, done, total) => progress.at({ done, total, note }),
  });
}

async function show(cli: Cli, report: QuickBenchReport): Promise<void> {
  await cli.print(`PostgreSQL ${report.serverVersion}`, "");
  await cli.table({
    columns: [
      { head: "Call", shrinks: true },
      { head: "At once", align: "right" },
      { head: "A second", align: "right" },
      { head: "p50 ms", align: "right" },
      { head: "p99 ms", align: "right" },
    ],
    rows: report.lines.map(rowOf),
  });
  await cli.print("", wrapped(limitText(report), cli.width));
}

function rowOf(
  { operation, callers, perSecond, p50Ms, p99Ms }: BenchLine,
): string[] {
  return [
    operation,
    String(callers),
    formatCount(Math.round(perSecond)),
    p50Ms.toFixed(2),
    p99Ms.toFixed(2),
  ];
}

function limitText(
  { roundTripMs, commitMs, limit }: QuickBenchReport,
): string {
  const parts =
    `A commit takes ${commitMs.toFixed(2)} ms in addition to its round ` +
    `trip of ${roundTripMs.toFixed(2)} ms.`;
  const advice = {
    commit:
      "The disk's flushes limit a single writer; many at once share them.",
    network:
      "The way to the server limits a single writer; many at once share " +
      "it. Bring the program nearer to its server.",
    processor:
      "Neither disk nor network limit a single writer: the processors " +
      "do, of the server or of this machine.",
  }[limit];
  return `${parts} ${advice}`;
}
