/**
 * Draws the ratios: a bar for each, on a logarithmic scale, with the spread of
 * the rounds as a whisker and the goal as a mark.
 */

import type { RatioResult } from "../rounds.ts";
import { comparison, figure } from "./format.ts";
import type { BenchResult } from "./result.ts";
import { round, text } from "./svg.ts";

const width = 960;
const rowHeight = 34;
const left = 470;
const right = 60;
const top = 64;
const bottom = 34;

interface Bar {
  title: string;
  ratio: RatioResult & { measured: NonNullable<RatioResult["measured"]> };
}

/** Draws an SVG that reads well on light and dark pages. */
export function chart({ workloads, environment }: BenchResult): string {
  const bars = workloads.flatMap(({ title, ratios }) =>
    ratios.flatMap((ratio): Bar[] =>
      ratio.measured === undefined
        ? []
        : [{ title, ratio: { ...ratio, measured: ratio.measured } }]
    )
  );
  const values = bars.flatMap(({ ratio: { measured, atLeast, atMost } }) =>
    [measured.min, measured.max, atLeast, atMost].filter((value) =>
      value !== undefined
    )
  );
  const low = Math.floor(Math.log2(Math.min(0.5, ...values)));
  const high = Math.ceil(Math.log2(Math.max(2, ...values)));
  const x = (value: number) =>
    round(
      left + (Math.log2(value) - low) / (high - low) * (width - left - right),
    );
  const height = top + bars.length * rowHeight + bottom;
  return [
    "<!-- deno-fmt-ignore-file -->",
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" ` +
    `height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>Ratios to the baseline and to the limits</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(16, 26, "Throughput and time as ratios", 'font-size="16"'),
    text(
      16,
      46,
      `${environment.runtime}, ${environment.server}, ` +
        `${environment.cores} cores. Whisker: rounds. Black: must reach.`,
      'fill="#555"',
    ),
    ...grid(low, high, x, height),
    ...bars.flatMap((bar, i) => barLines(bar, top + i * rowHeight, x)),
    "</svg>",
    "",
  ].join("\n");
}

function grid(
  low: number,
  high: number,
  x: (value: number) => number,
  height: number,
): string[] {
  const lines: string[] = [];
  for (let power = low; power <= high; power++) {
    const at = x(2 ** power);
    const color = power === 0 ? "#888" : "#ddd";
    lines.push(
      `<path d="M${at} ${top - 6}V${height - bottom + 4}" stroke="${color}"/>`,
      text(
        at,
        height - bottom + 20,
        `${figure(2 ** power)} ×`,
        'text-anchor="middle" fill="#555"',
      ),
    );
  }
  return lines;
}

function barLines(
  { title, ratio }: Bar,
  y: number,
  x: (value: number) => number,
): string[] {
  const { measured: { median, min, max }, atLeast, atMost, holds } = ratio;
  const [from, to] = [x(1), x(median)].sort((a, b) => a - b) as [
    number,
    number,
  ];
  const color = holds === undefined ? "#7a8ca8" : holds ? "#2b8a5b" : "#c0392b";
  const goal = atLeast ?? atMost;
  const middle = y + 14;
  return [
    text(left - 10, y + 12, title, 'text-anchor="end"'),
    text(
      left - 10,
      y + 26,
      comparison(ratio),
      'text-anchor="end" fill="#555" font-size="11"',
    ),
    `<rect x="${from}" y="${y + 5}" width="${round(Math.max(1, to - from))}" ` +
    `height="18" fill="${color}"/>`,
    `<path d="M${x(min)} ${middle}H${x(max)}M${x(min)} ${middle - 4}v8` +
    `M${x(max)} ${middle - 4}v8" stroke="#222" fill="none"/>`,
    ...(goal === undefined ? [] : [
      `<path d="M${x(goal)} ${y + 1}v26" stroke="#000" stroke-width="3"/>`,
    ]),
    text(
      Math.max(x(max), x(goal ?? max)) + 8,
      y + 18,
      figure(median),
      'font-weight="600"',
    ),
  ];
}
