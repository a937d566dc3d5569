import { Baseline } from "./baseline.ts";
import type { Site } from "./site.ts";
import { baseline, ours, type Subject } from "./workload.ts";

/** Somebody who does the work of a workload, and where. */
export interface Entrant<S = Subject> {
  name: string;
  subject: S;
  site: Site;
}

/** The store and its baseline on one site; the baseline is to be disposed of. */
export function storeAndBaseline(
  site: Site,
): { entrants: [store: Entrant, nodeWay: Entrant]; baseline: Baseline } {
  const nodeWay = new Baseline(site);
  return {
    baseline: nodeWay,
    entrants: [
      { name: ours, subject: site.storage, site },
      { name: baseline, subject: nodeWay, site },
    ],
  };
}
