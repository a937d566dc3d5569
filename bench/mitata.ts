/**
 * The hot paths under mitata, with Deno or Bun:
 * `deno run -A bench/mitata.ts [ID…]`, `bun bench/mitata.ts [ID…]`. One
 * iteration is one call of every client at once; what it needs is prepared
 * untimed.
 */

import process from "node:process";
import { bench, group, run, summary } from "mitata";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { storeAndBaseline } from "./entrant.ts";
import { feed, runAtOnce } from "./feed.ts";
import { openSite } from "./site.ts";
import { fullSizes } from "./sizes.ts";
import type { BatchContender, Operation } from "./workload.ts";
import { hotPaths } from "./workloads/table.ts";

async function main(ids: readonly string[]): Promise<void> {
  await using server = await startEmbeddedPostgres();
  await using site = await openSite(server.url);
  const { entrants, baseline } = storeAndBaseline(site);
  await using _baseline = baseline;
  for (const { id, title, contender } of hotPaths(fullSizes)) {
    if (ids.length > 0 && !ids.includes(id)) continue;
    group(title, () =>
      summary(() => {
        for (const entrant of entrants) {
          bench(entrant.name, computed(contender(entrant)));
        }
      }));
  }
  await run({ throw: true });
}

/** mitata calls `0` before each iteration and times `bench` with its result. */
function computed(contender: BatchContender) {
  const next = feed(contender);
  const benchmark = {
    0: next,
    bench: (operations: Operation[]) => runAtOnce(operations),
  };
  // mitata's types know only the form without parameters.
  return function* () {
    yield benchmark as unknown as () => unknown;
  };
}

await main(process.argv.slice(2));
