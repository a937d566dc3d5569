/** Formats the figures for the README. */

import type { BenchResult } from "./result.ts";
import {
  comparison,
  demand,
  figure,
  mediansOf,
  microseconds,
  milliseconds,
  ratio,
  verdict,
} from "./format.ts";

/** Formats the environment, the ratios, and the figures that they come from. */
export function markdownReport(result: BenchResult): string {
  return [
    ...environmentLines(result),
    "",
    ...ratioTable(result),
    "",
    ...figureTable(result),
  ].join("\n");
}

function environmentLines(
  { environment, rounds, seconds }: BenchResult,
): string[] {
  const { date, cpu, cores, memoryGiB, system, runtime, server, pg, tools } =
    environment;
  const settings = Object.entries(environment.settings)
    .map(([name, value]) => `\`${name} = ${value}\``);
  return [
    `Measured ${date}: medians of ${rounds} interleaved rounds of ` +
    `${seconds} s a measurement.`,
    "",
    `- Machine: ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${system}; server ` +
    "and clients share it.",
    `- Versions: ${runtime}, ${server}, pg ${pg}, ${tools}.`,
    `- Server settings: ${settings.join(", ")}.`,
  ];
}

function ratioTable({ workloads }: BenchResult): string[] {
  return [
    "| workload | compared | ratio (lowest–highest round) | goal | reached |",
    "| --- | --- | --- | --- | --- |",
    ...workloads.flatMap(({ title, ratios }) =>
      ratios.map((item) =>
        `| ${title} | ${comparison(item)} | ${ratio(item)} | ${
          demand(item)
        } | ${verdict(item)} |`
      )
    ),
  ];
}

function figureTable({ workloads }: BenchResult): string[] {
  return [
    "| workload | variant | per second | p50 | p99 | CPU of client, server |",
    "| --- | --- | ---: | ---: | ---: | ---: |",
    ...workloads.flatMap(({ title, unit, variants }) =>
      variants.map((variant) => {
        const medians = mediansOf(variant);
        const figures = medians === undefined
          ? "not measured | – | – | –"
          : `${figure(medians.perSecond)} ${unit} | ${
            milliseconds(medians.p50Ms)
          } | ${milliseconds(medians.p99Ms)} | ${
            microseconds(medians.clientCpuUs)
          }, ${microseconds(medians.serverCpuUs)}`;
        return `| ${title} | ${variant.name} | ${figures} |`;
      })
    ),
  ];
}
