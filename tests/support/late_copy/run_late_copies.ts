/** Runs many combinations in one setting, and counts the results. */
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import { showCall } from "./calls.ts";
import { type Combination, show } from "./combinations.ts";
import { openLateCopyStore, type SettingName } from "./settings.ts";
import {
  CombinationError,
  countFlushes,
  type LateCopyResult,
  tryCombination,
} from "./try_combination.ts";

/** The results of a setting's combinations. */
export interface LateCopyReport {
  setting: SettingName;
  /** Combinations that were tried; each flush of a first write counts. */
  combinations: number;
  /** Copies that were held back, their clients cut off. */
  heldBack: number;
  /** Late copies that the server executed, with or without effect. */
  executed: number;
  /** Late copies that the server refused. */
  refused: number;
  /** The reasons why it refused them. */
  refusals: Record<string, number>;
  /** Combinations whose acknowledged state a late copy changed. */
  changed: number;
  /** The same by lost write: how many of how many. */
  changedBy: Record<string, { changed: number; of: number }>;
  /** The first few, with what changed. */
  examples: string[];
  /** Combinations that prove nothing, because something else went wrong. */
  broken: string[];
  elapsedMs: number;
}

/** How combinations are run. */
export interface LateCopyRun {
  setting: SettingName;
  combinations: readonly Combination[];
  /** Called after each combination. */
  onProgress?: (done: number, report: LateCopyReport) => void;
}

const maxExamples = 20;
/** More dead rows would slow the comparisons down. */
const vacuumEvery = 500;
/** With so many, the rest would prove nothing, either. */
const maxBroken = 20;

/** Runs the combinations one after another on one store. */
export async function runLateCopies(
  { setting, combinations, onProgress }: LateCopyRun,
): Promise<LateCopyReport> {
  const started = performance.now();
  const report = emptyReport(setting);
  await using store = await openLateCopyStore(setting);
  const flushes = new Map<string, number>();
  for (const [index, combination] of combinations.entries()) {
    if (report.broken.length >= maxBroken) break;
    try {
      const key = keyOf(combination);
      const count = flushes.get(key) ?? await countFlushes(store, combination);
      flushes.set(key, count);
      for (let nth = 1; nth <= count; nth++) {
        try {
          const result = await tryCombination(store, combination, nth);
          note(report, combination, nth, result);
        } catch (error) {
          // The count was one too high, from a retry after a conflict.
          const isFewer = nth > 1 && error instanceof CombinationError &&
            await countFlushes(store, combination) < nth;
          if (!isFewer) throw error;
          flushes.set(key, nth - 1);
          break;
        }
      }
    } catch (error) {
      const { name, message } = error as Error;
      const isExpected = error instanceof CombinationError ||
        isStreamStorageError(error);
      if (!isExpected) throw error;
      report.combinations++;
      report.broken.push(`${show(combination)}: ${name}: ${message}`);
      await store.state.empty();
    }
    if (index % vacuumEvery === vacuumEvery - 1) await store.state.vacuum();
    report.elapsedMs = performance.now() - started;
    onProgress?.(index + 1, report);
  }
  return report;
}

/** Whether no late copy changed anything, and nothing else went wrong. */
export function isClean({ changed, broken }: LateCopyReport): boolean {
  return changed === 0 && broken.length === 0;
}

function emptyReport(setting: SettingName): LateCopyReport {
  return {
    setting,
    combinations: 0,
    heldBack: 0,
    executed: 0,
    refused: 0,
    refusals: {},
    changed: 0,
    changedBy: {},
    examples: [],
    broken: [],
    elapsedMs: 0,
  };
}

/** The parts of a combination that decide how many flushes its first write has. */
function keyOf({ prepared, scenario, first }: Combination): string {
  return [prepared, scenario, showCall(first)].join("|");
}

function note(
  report: LateCopyReport,
  combination: Combination,
  nth: number,
  { answers, changes }: LateCopyResult,
): void {
  const title = `${show(combination)}, flush ${nth}`;
  report.combinations++;
  for (const answer of answers) {
    report.heldBack++;
    if (answer.end === "executed") report.executed++;
    else if (answer.end === "refused") {
      report.refused++;
      const { reason } = answer;
      report.refusals[reason] = (report.refusals[reason] ?? 0) + 1;
    } else report.broken.push(`${title}: a late copy was not answered`);
  }
  const first = showCall(combination.first);
  const by = report.changedBy[first] ??= { changed: 0, of: 0 };
  by.of++;
  if (changes.length === 0) return;
  by.changed++;
  report.changed++;
  if (report.examples.length < maxExamples) {
    report.examples.push([title, ...changes].join("\n    "));
  }
}
