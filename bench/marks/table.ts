/** The table of the marks. */

import { median } from "../measure.ts";
import { figure } from "../report/format.ts";
import type { FigureOfRow } from "./rows.ts";
import type { RowResult, SideResult } from "./run.ts";

/** `median (lowest–highest)`. */
function spread(values: readonly number[]): string {
  if (values.length === 0) return "not measured";
  const shown = figure(median(values));
  if (values.length === 1) return shown;
  return `${shown} (${figure(Math.min(...values))}–${
    figure(Math.max(...values))
  })`;
}

/** The head of a table in Markdown; `checkouts` are the names of its columns. */
export function tableHead(checkouts: readonly string[]): string {
  const heads = [
    "work",
    "figure",
    "by",
    ...checkouts,
    ...(checkouts.length > 1 ? ["ratio"] : []),
    "must be",
    "holds",
  ];
  return [lineOf(heads), lineOf(heads.map(() => "---"))].join("\n");
}

/** A row of the table: a line for each figure and runtime. */
export function tableRow(
  { row, sides }: RowResult,
  checkouts: readonly string[],
): string {
  const measured = sides.filter(({ rounds }) => rounds.length > 0);
  if (measured.length === 0) return lineOf([row.title, "not measured"]);
  const runtimes = new Set(measured.map(({ runtime }) => runtime));
  return row.figures.flatMap((figure) =>
    Array.from(runtimes, (runtime) => {
      const of = measured.filter((side) => side.runtime === runtime);
      return lineOf(cellsOf(row.title, figure, runtime, of, checkouts));
    })
  ).join("\n");
}

function lineOf(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function cellsOf(
  title: string,
  wanted: FigureOfRow,
  runtime: string,
  sides: readonly SideResult[],
  checkouts: readonly string[],
): string[] {
  const valuesOf = (checkout: string) =>
    sides.find((side) => side.checkout === checkout)?.rounds
      .map((round) => round[wanted.name])
      .filter((value) => value !== undefined) ?? [];
  const [now = "", before] = checkouts;
  // What no checkout has to do with stands in the first column.
  const isOther = sides.every(({ checkout }) => !checkouts.includes(checkout));
  const first = isOther ? sides[0]!.checkout : now;
  const values = valuesOf(first);
  const ratios = before === undefined ? [] : ratiosOf(values, valuesOf(before));
  return [
    title,
    wanted.title,
    runtime,
    spread(values),
    ...(before === undefined
      ? []
      : [isOther ? "–" : spread(valuesOf(before)), ratioText(ratios)]),
    demandOf(wanted),
    verdictOf(wanted, values, ratios),
  ];
}

/** Round by round. */
function ratiosOf(now: readonly number[], before: readonly number[]): number[] {
  if (now.length !== before.length) return [];
  return now.map((value, round) => value / before[round]!);
}

function ratioText(ratios: readonly number[]): string {
  return ratios.length === 0 ? "–" : spread(ratios);
}

function demandOf({ atMost, atLeast, ratioAtLeast }: FigureOfRow): string {
  const parts = [
    ...(atMost === undefined ? [] : [`≤ ${atMost}`]),
    ...(atLeast === undefined ? [] : [`≥ ${atLeast}`]),
    ...(ratioAtLeast === undefined ? [] : [`ratio ≥ ${ratioAtLeast}`]),
  ];
  return parts.join(", ") || "–";
}

function verdictOf(
  { atMost, atLeast, ratioAtLeast }: FigureOfRow,
  values: readonly number[],
  ratios: readonly number[],
): string {
  const checks: boolean[] = [];
  if (values.length > 0) {
    if (atMost !== undefined) checks.push(median(values) <= atMost);
    if (atLeast !== undefined) checks.push(median(values) >= atLeast);
  }
  if (ratioAtLeast !== undefined && ratios.length > 0) {
    checks.push(median(ratios) >= ratioAtLeast);
  }
  if (checks.length === 0) return "–";
  return checks.every((holds) => holds) ? "yes" : "**no**";
}
