/** The workloads as `deno bench` has them. */

import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { storeAndBaseline } from "./entrant.ts";
import { feed, runAtOnce } from "./feed.ts";
import { openSite } from "./site.ts";
import { fullSizes, type Sizes } from "./sizes.ts";
import { baseline } from "./workload.ts";
import type { HotPath } from "./workloads/table.ts";

/**
 * Registers each path for the store and for the baseline, on an embedded
 * server that ends with this process. One iteration is one call of every
 * client at once.
 */
export async function registerBenches(
  paths: (sizes: Sizes) => HotPath[],
): Promise<void> {
  const { url } = await startEmbeddedPostgres();
  const { entrants } = storeAndBaseline(await openSite(url));
  for (const { title, contender } of paths(fullSizes)) {
    for (const entrant of entrants) {
      const next = feed(contender(entrant));
      Deno.bench({
        name: `${title}: ${entrant.name}`,
        group: title,
        baseline: entrant.name === baseline,
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
