/** Formats the report as a table. */
import { formatTable } from "../../demo/table.ts";
import type { PatroniReport, Round } from "./run.ts";

const heads = [
  "scenario | mode | via",
  "runs",
  "acknowledged",
  "lost",
  "unknown",
  "failed",
  "longest stall",
  "longest gap",
  "sessions left",
  "log events",
];

/** Formats a line for each scenario, mode and way. */
export function formatReport(report: PatroniReport): string {
  const groups = Map.groupBy(
    report.rounds,
    ({ scenario, mode, via }) => `${scenario} | ${mode} | ${via}`,
  );
  const rows = [...groups].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, rounds]) => rowOf(name, rounds));
  const { failovers, lostInSync, checks, faults, elapsedMs, seed } = report;
  return [
    ...formatTable(heads, rows),
    `${failovers} failovers, ${lostInSync} acknowledged writes lost with ` +
    `synchronous replication, ${faults.length} faults`,
    `${checks.rounds} checks of ${checks.streams} streams, ${checks.rows} ` +
    `rows; ${seconds(elapsedMs)} in all, seed ${seed}`,
    ...faults.map((fault) => `\n${fault}`),
  ].join("\n");
}

function rowOf(name: string, rounds: readonly Round[]): string[] {
  const sum = (of: (round: Round) => number) =>
    rounds.reduce((total, round) => total + of(round), 0);
  const max = (of: (round: Round) => number) => Math.max(...rounds.map(of));
  const there = sum(({ unknown }) => unknown.there);
  const absent = sum(({ unknown }) => unknown.absent);
  return [
    name,
    String(rounds.length),
    String(sum(({ observations }) => observations.acknowledged)),
    lostOf(sum(({ lost }) => lost), rounds),
    `${there} there, ${absent} not`,
    String(sum(({ observations }) => observations.failed)),
    seconds(max(({ observations }) => observations.longestStallMs)),
    seconds(max(({ observations }) => observations.longestGapMs)),
    sessionsOf(rounds),
    loggedIn(rounds),
  ];
}

/**
 * Formats lost writes, and how long after the promotion the last was
 * acknowledged.
 */
function lostOf(lost: number, rounds: readonly Round[]): string {
  const late = Math.max(
    ...rounds.map(({ lostAfterPromotionMs }) => lostAfterPromotionMs ?? 0),
  );
  return late > 0 ? `${lost} (until ${seconds(late)} after)` : String(lost);
}

function sessionsOf(rounds: readonly Round[]): string {
  const left = Math.max(...rounds.map(({ sessionsLeft }) => sessionsLeft));
  const split = rounds.map(({ sessionsInSplit }) => sessionsInSplit)
    .filter((count) => count !== undefined);
  if (split.length === 0) return String(left);
  return `${Math.max(...split)} in split, ${left}`;
}

function loggedIn(rounds: readonly Round[]): string {
  const counts = new Map<string, number>();
  for (const { logged } of rounds) {
    for (const [code, count] of Object.entries(logged)) {
      counts.set(code, (counts.get(code) ?? 0) + count);
    }
  }
  return [...counts].map(([code, count]) => `${code} ${count}`).join(", ");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
