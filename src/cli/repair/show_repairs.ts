/** Shows plans of repairs, and their results. */

import type {
  RepairResult,
  UndoResult,
} from "../../operator/repair/options.ts";
import type { Repair } from "../../operator/repair/plan.ts";
import type { Cli } from "../cli.ts";
import { formatCount, plural } from "../format.ts";
import { wrapped } from "../screen.ts";

/** The headings of outcomes, in the order in which they are shown. */
const heads = {
  planned: "To be changed",
  done: "Changed",
  not_needed: "Right already",
  changed: "Not as it was found, so left alone: verify again",
  by_hand: "By hand",
} as const;

type Outcome = keyof typeof heads;

/** A repair and its planned or real outcome. */
interface Shown {
  repair: Repair;
  outcome: Outcome;
}

/** Shows planned repairs. */
export async function showPlan(
  cli: Cli,
  plan: readonly Repair[],
): Promise<void> {
  const shown = plan.map((repair): Shown => ({
    repair,
    outcome: repair.action.kind === "none" ? "by_hand" : "planned",
  }));
  if (cli.isJson) {
    for (const repair of plan) await cli.jsonLine(repair);
    await cli.jsonLine({ summary: countsOf(shown) });
    return;
  }
  await show(cli, shown);
  const { planned, by_hand } = countsOf(shown);
  await cli.print(
    plan.length === 0
      ? "Nothing to do"
      : `${plural(planned ?? 0, "change")}${planned ? ", see --apply" : ""}; ` +
        `${formatCount(by_hand ?? 0)} by hand`,
  );
}

/** Shows the results of repairs. */
export async function showResults(
  cli: Cli,
  results: readonly RepairResult[],
  file: string | undefined,
): Promise<void> {
  const counts = countsOf(results);
  const undoFile = counts.done ? file : undefined;
  if (cli.isJson) {
    for (const { repair, outcome, rows } of results) {
      await cli.jsonLine({ ...repair, outcome, rows });
    }
    const summary = { ...counts, undoFile: undoFile ?? null };
    await cli.jsonLine({ summary });
    return;
  }
  await show(cli, results);
  await cli.print(
    results.length === 0
      ? "Nothing to do"
      : `${plural(counts.done ?? 0, "change")}; ` +
        `${formatCount(counts.by_hand ?? 0)} by hand`,
    ...(undoFile === undefined ? [] : [`To undo: repair undo ${undoFile}`]),
  );
}

function countsOf(
  shown: readonly Pick<Shown, "outcome">[],
): Partial<Record<Outcome, number>> {
  const counts: Partial<Record<Outcome, number>> = {};
  for (const { outcome } of shown) {
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

async function show(cli: Cli, shown: readonly Shown[]): Promise<void> {
  for (const outcome of Object.keys(heads) as Outcome[]) {
    const its = shown.filter((one) => one.outcome === outcome);
    if (its.length === 0) continue;
    await cli.print(cli.colour.bold(heads[outcome]));
    for (const { repair } of its) {
      await cli.print(...describe(repair, cli.width));
    }
    await cli.print("");
  }
}

/** An id has a line of its own, so that users can copy it. */
function describe({ finding, what }: Repair, width: number): string[] {
  return [
    `  ${finding.streamId ?? "the schema"}`,
    wrapped(`${finding.finding}: ${what}`, width, "    "),
  ];
}

/** Shows the results of undoing repairs. */
export async function showUndone(
  cli: Cli,
  results: readonly UndoResult[],
): Promise<void> {
  const counts: Partial<Record<UndoResult["outcome"], number>> = countsOf(
    results,
  );
  if (cli.isJson) {
    for (const result of results) await cli.jsonLine(result);
    await cli.jsonLine({ summary: counts });
    return;
  }
  const changed = results.filter(({ outcome }) => outcome === "changed");
  await cli.print(
    `${plural(counts.done ?? 0, "change")} undone, ` +
      `${formatCount(counts.not_needed ?? 0)} were undone already`,
    ...(changed.length === 0
      ? []
      : ["Not undone, because these streams have changed since the repair:"]),
    ...new Set(changed.map(({ streamId }) => `  ${streamId}`)),
  );
}
