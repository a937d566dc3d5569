import { Baseline } from "./baseline.ts";
import type { Setup } from "./setup.ts";
import { baselineName, type MeasuredStorage, storeName } from "./workload.ts";

/** A storage that variants run against, and its setup. */
export interface Target<S = MeasuredStorage> {
  name: string;
  storage: S;
  setup: Setup;
}

/**
 * Returns the store and its baseline on one setup. The caller disposes of the
 * baseline.
 */
export function storeAndBaseline(
  setup: Setup,
): { targets: [store: Target, nodeWay: Target]; baseline: Baseline } {
  const nodeWay = new Baseline(setup);
  return {
    baseline: nodeWay,
    targets: [
      { name: storeName, storage: setup.storage, setup },
      { name: baselineName, storage: nodeWay, setup },
    ],
  };
}
