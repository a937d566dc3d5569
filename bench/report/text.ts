/** Formats the table for the terminal. */

import { isDurable } from "../environment.ts";
import type { WorkloadResult } from "../rounds.ts";
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
import type { BenchResult } from "./result.ts";

/** Formats the whole run. */
export function textReport(result: BenchResult): string {
  const { environment, rounds, seconds, workloads } = result;
  const { cpu, cores, runtime, server, settings } = environment;
  const missed = workloads.flatMap(({ ratios }) => ratios)
    .filter(({ holds }) => holds === false).length;
  return [
    `${runtime}, ${server}, ${cores} cores of ${cpu}`,
    `fsync ${settings["fsync"]}, synchronous_commit ` +
    `${settings["synchronous_commit"]}; medians of ${rounds} rounds of ` +
    `${seconds} s`,
    ...(isDurable(environment)
      ? []
      : ["Commits did not wait for the disk: these figures mean nothing"]),
    "",
    ...workloads.flatMap(linesOf),
    missed === 0
      ? "Every measured ratio reaches its goal"
      : `Ratios that miss their goal: ${missed}`,
  ].join("\n");
}

function linesOf(
  { id, title, unit, variants, ratios }: WorkloadResult,
): string[] {
  return [
    `${title}  [${id}]`,
    ...variants.map((variant) => {
      const medians = mediansOf(variant);
      const name = variant.name.padEnd(30);
      if (medians === undefined) return `  ${name} not measured`;
      const { perSecond, p50Ms, p99Ms, clientCpuUs, serverCpuUs } = medians;
      return `  ${name} ${figure(perSecond).padStart(8)} ${unit}/s` +
        `   p50 ${milliseconds(p50Ms)}   p99 ${milliseconds(p99Ms)}` +
        `   CPU ${microseconds(clientCpuUs)} + ${microseconds(serverCpuUs)}`;
    }),
    ...ratios.map((item) =>
      `  ${comparison(item).padEnd(30)} ${ratio(item)}` +
      `   must ${demand(item)}   ${verdict(item).replaceAll("*", "")}`
    ),
    "",
  ];
}
