/** `repair`: plans and makes repairs for the findings of `verify`. */

import { applyRepairs } from "../../operator/repair/apply.ts";
import type { RepairResult } from "../../operator/repair/options.ts";
import { planRepairs, type Repair } from "../../operator/repair/plan.ts";
import { undoRepairs } from "../../operator/repair/undo.ts";
import type { Cli } from "../cli.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { plural } from "../format.ts";
import { findDamage } from "../repair/find_damage.ts";
import { showPlan, showResults, showUndone } from "../repair/show_repairs.ts";
import {
  type OwnerOptions,
  storeOf,
  type StorePlace,
  withOwner,
  withStore,
} from "../store_options.ts";
import { UsageError } from "../usage_errors.ts";
import { withScope } from "../verify/scope.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  // `undo` has options of the same names.
  command.enablePositionalOptions();
  defineRepair(command);
  defineUndo(command);
}

function defineRepair(command: NewCommand): void {
  withOwner(withScope(command))
    .option(
      "--findings <file>",
      "repair the findings of verify --json, without a new search",
    )
    .option("--apply", "make the changes; without it they are only shown")
    .option(
      "--undo <file>",
      "the new file for repair undo (default: a name with the time, in " +
        "this directory); it holds payload",
    )
    .addHelpText(
      "after",
      "\nMakes only changes that lose nothing and need no guess. Exit status 1 " +
        "while\nanything is left to do.\n" +
        examples(
          "repair",
          "repair --apply --undo orphans.undo",
          "verify --deep --json >found; repair --findings found",
          "repair undo orphans.undo",
        ),
    )
    .action(run(async (cli, options) => {
      const { apply = false, undo, takeOver } = options;
      if (undo !== undefined && !apply) {
        throw new UsageError("Expected --apply with --undo");
      }
      const place = await storeOf(options, cli);
      const plan = planRepairs(await findDamage(cli, place, options));
      if (!apply) {
        await showPlan(cli, plan);
        return plan.length > 0 ? 1 : 0;
      }
      const undoFile = undo ?? newUndoFile();
      return await carryOut(cli, { ...place, takeOver }, plan, undoFile);
    }));
}

async function carryOut(
  cli: Cli,
  { takeOver, ...place }: StorePlace & OwnerOptions,
  plan: readonly Repair[],
  undoFile: string,
): Promise<0 | 1> {
  const { signal } = cli;
  const byHand: RepairResult[] = [];
  const doable: Repair[] = [];
  for (const repair of plan) {
    if (repair.action.kind !== "none") doable.push(repair);
    else byHand.push({ repair, outcome: "by_hand", rows: 0 });
  }
  // Without a change no owner has to give up the store, and no file is needed.
  if (doable.length === 0) {
    await showResults(cli, byHand, undefined);
    return byHand.length > 0 ? 1 : 0;
  }
  using progress = cli.progress("Repairing", "steps");
  let done = 0;
  const showSteps = () => progress.at({ done, total: doable.length });
  const results = await applyRepairs(doable, {
    ...place,
    takeOver: takeOver ?? false,
    undoFile,
    signal,
    onProgress: () => {
      done++;
      showSteps();
    },
  }).catch((error) => {
    if (done > 0) {
      cli.note(
        `${plural(done, "repair")} done; to undo: repair undo ${undoFile}`,
      );
    }
    throw error;
  });
  await showResults(cli, [...results, ...byHand], undoFile);
  const isLeft = ({ outcome }: RepairResult) => outcome === "changed";
  return byHand.length > 0 || results.some(isLeft) ? 1 : 0;
}

/**
 * A name with the time in UTC, in characters that every system allows in names.
 */
function newUndoFile(): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return `stream-storage-${time}.undo`;
}

function defineUndo(command: NewCommand): void {
  withOwner(withStore(command.command("undo")))
    .description("undo what repair --apply has done")
    .argument("<file>", "the file that repair --apply has made")
    .addHelpText(
      "after",
      "\nIt can be repeated after a failure: what is undone stays undone.\n" +
        examples("repair undo orphans.undo"),
    )
    .action(run(async (cli, file, options) => {
      const { takeOver = false } = options;
      const place = await storeOf(options, cli);
      using progress = cli.progress("Undoing", "steps");
      let done = 0;
      const results = await undoRepairs(file, {
        ...place,
        takeOver,
        signal: cli.signal,
        onProgress: () => progress.at({ done: ++done }),
      });
      await showUndone(cli, results);
      return results.some(({ outcome }) => outcome === "changed") ? 1 : 0;
    }));
}
