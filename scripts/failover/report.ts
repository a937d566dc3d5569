import type { Outcome } from "./verdict.ts";

/** Formats a row of the table: all runs of a scenario in a mode. */
export function format(outcomes: readonly Outcome[]): string {
  const groups = Map.groupBy(
    outcomes,
    ({ scenario, mode }) => `${scenario}|${mode}`,
  );
  const rows = [...groups.values()].map(rowOf);
  const faults = outcomes.flatMap(({ faults, ...run }) =>
    faults.map((fault) =>
      `${run.scenario} ${run.mode}, ${run.order}, ` +
      `variant ${run.variant}: ${fault}`
    )
  );
  return [...table([head, ...rows]), ...faults].join("\n");
}

const head = [
  "scenario",
  "mode",
  "runs",
  "right",
  "acknowledged",
  "lost",
  "unknown (there/absent)",
  "retracted",
  "stall",
  "slowest",
  "gap",
  "moved",
  "left",
  "log events",
];

function rowOf(runs: readonly Outcome[]): string[] {
  const [{ scenario, mode }] = runs as [Outcome];
  const sum = (of: (run: Outcome) => number) =>
    runs.reduce((total, run) => total + of(run), 0);
  const most = (of: (run: Outcome) => number | undefined) =>
    Math.max(...runs.map((run) => of(run) ?? NaN));
  const there = sum(({ unknown }) => unknown.there);
  const absent = sum(({ unknown }) => unknown.absent);
  const codes = new Set(runs.flatMap(({ events }) => Object.keys(events)));
  return [
    scenario,
    mode,
    String(runs.length),
    String(runs.filter(({ faults }) => faults.length === 0).length),
    String(sum(({ acknowledged }) => acknowledged)),
    String(sum(({ lost }) => lost)),
    `${there + absent} (${there}/${absent})`,
    String(sum(({ retracted }) => retracted)),
    seconds(most(({ stallMs }) => stallMs)),
    seconds(most(({ slowestMs }) => slowestMs)),
    seconds(most(({ gapMs }) => gapMs)),
    seconds(most(({ movedMs }) => movedMs)),
    left(runs),
    [...codes].filter((code) => !usual.includes(code)).map((code) =>
      `${code} ${sum(({ events }) => events[code] ?? 0)}`
    ).join(", "),
  ];
}

/** The log events of every opening. */
const usual = ["ownership_taken"];

/**
 * Formats the most connections that remained, and sessions if the server was
 * there.
 */
function left(runs: readonly Outcome[]): string {
  const connections = Math.max(...runs.map(({ left }) => left.connections));
  const sessions = runs.map(({ left }) => left.sessions)
    .filter((count) => count !== undefined);
  if (sessions.length === 0) return String(connections);
  return `${connections} (${Math.max(...sessions)})`;
}

function seconds(ms: number): string {
  return Number.isNaN(ms) ? "never" : `${(ms / 1000).toFixed(1)} s`;
}

function table(rows: readonly string[][]): string[] {
  const widths = head.map((_, column) =>
    Math.max(...rows.map((row) => row[column]!.length))
  );
  return rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")
      .trimEnd()
  );
}
