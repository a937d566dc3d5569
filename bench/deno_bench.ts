/** Runs the workloads under `deno bench`. */

import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { storeAndBaseline } from "./target.ts";
import { iterationsOf, runAtOnce } from "./iterations.ts";
import { openSetup } from "./setup.ts";
import { fullSizes, type Sizes } from "./sizes.ts";
import { baselineName } from "./workload.ts";
import type { HotPath } from "./workloads/table.ts";

/**
 * Registers each path for the store and for the baseline, on an embedded
 * server that ends with this process. In one iteration every client makes one
 * call, all at once.
 */
export async function registerBenches(
  paths: (sizes: Sizes) => HotPath[],
): Promise<void> {
  const { url } = await startEmbeddedPostgres();
  const { targets } = storeAndBaseline(await openSetup(url));
  for (const { title, variant } of paths(fullSizes)) {
    for (const target of targets) {
      const next = iterationsOf(variant(target));
      Deno.bench({
        name: `${title}: ${target.name}`,
        group: title,
        baseline: target.name === baselineName,
        async fn(bench) {
          const operations = await next();
          bench.start();
          await runAtOnce(operations);
          bench.end();
        },
      });
    }
  }
}
