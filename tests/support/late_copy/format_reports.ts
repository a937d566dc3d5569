/** Prints reports of late copies as a table, with details below. */
import type { LateCopyReport } from "./run_late_copies.ts";

const COLUMNS = [
  "setting",
  "combinations",
  "held back",
  "executed late",
  "refused late",
  "changed acknowledged state",
] as const;

/** The table, the harmful writes, examples, and combinations that went wrong. */
export function formatReports(reports: readonly LateCopyReport[]): string {
  const rows = reports.map((report) => [
    report.setting,
    ...[
      report.combinations,
      report.heldBack,
      report.executed,
      report.refused,
      report.changed,
    ].map(String),
  ]);
  const lines = [row([...COLUMNS]), row(COLUMNS.map(() => "---"))];
  return [...lines, ...rows.map(row), ...reports.map(details)]
    .filter((line) => line !== "").join("\n");
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function details(report: LateCopyReport): string {
  const { setting, refusals, changedBy, examples, broken, elapsedMs } = report;
  const seconds = (elapsedMs / 1000).toFixed(1);
  const reasons = Object.entries(refusals).sort(([, a], [, b]) => b - a)
    .map(([reason, times]) => `${reason} ${times}`);
  const harmful = Object.entries(changedBy)
    .filter(([, { changed }]) => changed > 0)
    .map(([call, { changed, of }]) => `  ${call}: ${changed} of ${of}`);
  const lines = [`\n${setting}: ${seconds} s; refused: ${reasons.join(", ")}`];
  if (harmful.length > 0) lines.push("Changed by:", ...harmful);
  if (examples.length > 0) lines.push("Among them:", ...indented(examples));
  if (broken.length > 0) lines.push("Say nothing:", ...indented(broken));
  return lines.join("\n");
}

function indented(texts: readonly string[]): string[] {
  return texts.map((text) => `  ${text}`);
}
