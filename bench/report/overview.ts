/**
 * Draws the picture of the README: the store compared with the nodes'
 * statements.
 */

import type { RatioResult, WorkloadResult } from "../rounds.ts";
import { figure, mediansOf } from "./format.ts";
import type { BenchResult } from "./result.ts";

/** A workload, the store's rate, and its ratio to the baseline. */
interface Row {
  title: string;
  unit: string;
  store: number;
  ratio: NonNullable<RatioResult["measured"]>;
}

const width = 880;
const left = 330;
const right = 250;
const top = 62;
const rowHeight = 30;

/** The workloads that have a ratio to the baseline, in the order of the run. */
function rowsOf({ workloads }: BenchResult): Row[] {
  return workloads.flatMap((workload) => {
    const ratio = workload.ratios.find(({ to }) => to === "baseline")?.measured;
    const store = perSecond(workload, "stream-storage");
    return ratio === undefined || store === undefined ? [] : [{
      title: shortened(workload.title),
      unit: workload.unit,
      store,
      ratio,
    }];
  });
}

/** Draws an SVG that reads well on light and dark pages. */
export function overviewChart(result: BenchResult): string {
  const rows = rowsOf(result);
  const most = Math.max(...rows.map(({ ratio }) => ratio.max));
  const scale = (width - left - right) / most;
  const height = top + rows.length * rowHeight + 16;
  const { runtime, server, cores } = result.environment;
  return [
    "<!-- deno-fmt-ignore-file -->",
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" ` +
    `height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="13" role="img">`,
    "<title>How many times as fast as an existing node's way</title>",
    `<rect width="${width}" height="${height}" rx="6" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="16">` +
    "How many times as fast as an existing node's way</text>",
    `<text x="16" y="46" fill="#555">${runtime}, ${server}, ${cores} cores ` +
    `shared by client and server. Whisker: slowest and fastest round.</text>`,
    ...rows.flatMap((row, i) => bar(row, top + i * rowHeight, scale)),
    "</svg>",
    "",
  ].join("\n");
}

function bar(
  { title, unit, store, ratio: { median, min, max } }: Row,
  y: number,
  scale: number,
): string[] {
  const x = (value: number) => Math.round((left + value * scale) * 10) / 10;
  const middle = y + 12;
  return [
    `<text x="${left - 10}" y="${y + 16}" text-anchor="end">${title}</text>`,
    `<rect x="${left}" y="${y + 3}" width="${x(median) - left}" height="18" ` +
    `rx="2" fill="#2b8a5b"/>`,
    `<path d="M${x(min)} ${middle}H${x(max)}M${x(min)} ${middle - 4}v8` +
    `M${x(max)} ${middle - 4}v8" stroke="#222" fill="none"/>`,
    `<text x="${x(max) + 8}" y="${y + 16}"><tspan font-weight="600">` +
    `${figure(median)} ×</tspan><tspan dx="8" fill="#555">` +
    `${figure(store)} ${unit}/s</tspan></text>`,
  ];
}

function perSecond(
  { variants }: WorkloadResult,
  name: string,
): number | undefined {
  const variant = variants.find((variant) => variant.name === name);
  return variant && mediansOf(variant)?.perSecond;
}

/** Shortens a title; the table in `bench/README.md` has the details. */
function shortened(title: string): string {
  return title
    .replace(
      /^readStreamFromLastSnapshot, 10 blocks \+ 10 events of/,
      "Load a stream of 20 ×",
    )
    .replace(/^writeEvent, /, "Write events, ")
    .replace(
      /^writeMiniblocks, 1 block of 10 KB, 20 events.*/,
      "Write a block, swap 20 events",
    )
    .replace(
      /^writeMiniblocks, (\d+) blocks of 10 KB.*/,
      "Write $1 blocks of 10 KB",
    )
    .replace(/^createStreamStorage, /, "Create streams, ")
    .replace(/^readMiniblocks, /, "Read ")
    .replace(/, 1 KB$/, "");
}
