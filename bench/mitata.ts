/**
 * Runs the hot paths under mitata, with Deno or Bun: `deno run -A
 * bench/mitata.ts [ID…]`, `bun bench/mitata.ts [ID…]`. In one iteration every
 * client makes one call, all at once. Preparing the calls is not timed.
 */

import process from "node:process";
import { bench, group, run, summary } from "mitata";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { storeAndBaseline } from "./target.ts";
import { iterationsOf, runAtOnce } from "./iterations.ts";
import { openSetup } from "./setup.ts";
import { fullSizes } from "./sizes.ts";
import type { BatchVariant, Operation } from "./workload.ts";
import { hotPaths } from "./workloads/table.ts";

async function main(ids: readonly string[]): Promise<void> {
  await using server = await startEmbeddedPostgres();
  await using setup = await openSetup(server.url);
  const { targets, baseline } = storeAndBaseline(setup);
  await using _baseline = baseline;
  for (const { id, title, variant } of hotPaths(fullSizes)) {
    if (ids.length > 0 && !ids.includes(id)) continue;
    group(title, () =>
      summary(() => {
        for (const target of targets) {
          bench(target.name, computed(variant(target)));
        }
      }));
  }
  await run({ throw: true });
}

/** mitata calls `0` before each iteration and times `bench` with its result. */
function computed(variant: BatchVariant) {
  const next = iterationsOf(variant);
  const benchmark = {
    0: next,
    bench: (operations: Operation[]) => runAtOnce(operations),
  };
  // mitata's types describe only the form without parameters.
  return function* () {
    yield benchmark as unknown as () => unknown;
  };
}

await main(process.argv.slice(2));
