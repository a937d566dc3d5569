/**
 * The fixtures of a run: everything that must be in place before it measures.
 */

import { storeAndBaseline, type Target } from "./target.ts";
import { plainInsert } from "./limits/plain_insert.ts";
import { lockedName, Unchecked, uncheckedName } from "./limits/unchecked.ts";
import { makeScratch } from "./limits/scratch.ts";
import type { Tools } from "./limits/tools.ts";
import { openSetup, type Setup } from "./setup.ts";
import type { Sizes } from "./sizes.ts";
import type { BatchVariant, MeasuredWrites } from "./workload.ts";

/**
 * A setup with its targets, and the variants and tools that show the limits.
 */
export interface Fixtures extends AsyncDisposable {
  setup: Setup;
  sizes: Sizes;
  store: Target;
  nodeWay: Target;
  plain: BatchVariant;
  unchecked: Target<MeasuredWrites>;
  locked: Target<MeasuredWrites>;
  /** Opens a store with many connections at the first call. */
  wideSetup(): Promise<Setup>;
  tools: Tools;
  /** A directory for the tools' files. */
  scratch: string;
}

/** The server, the sizes and the tools of the fixtures. */
export interface FixtureOptions {
  url: string;
  sizes: Sizes;
  tools: Tools;
  /** Default: the store's own. */
  partitions?: number;
}

/**
 * Opens the stores. Disposing of the fixtures closes them and drops their
 * schemas.
 */
export async function openFixtures(
  { url, sizes, tools, partitions }: FixtureOptions,
): Promise<Fixtures> {
  await using stack = new AsyncDisposableStack();
  const options = partitions === undefined ? {} : { partitions };
  const scratch = stack.use(await makeScratch());
  const setup = stack.use(await openSetup(url, options));
  const { targets: [store, nodeWay], baseline } = storeAndBaseline(setup);
  stack.use(baseline);
  const plain = stack.use(
    plainInsert(setup, {
      clients: sizes.writers,
      events: sizes.minipoolEvents,
    }),
  );
  const unchecked = stack.use(await Unchecked.open(setup, { locks: false }));
  const locked = stack.use(await Unchecked.open(setup, { locks: true }));
  const cleanUp = stack.move();
  let opening: Promise<Setup> | undefined;
  const openWide = async () => {
    const maxConnections = sizes.manyConnections;
    return cleanUp.use(await openSetup(url, { ...options, maxConnections }));
  };
  return {
    setup,
    sizes,
    store,
    nodeWay,
    plain,
    unchecked: { name: uncheckedName, storage: unchecked, setup },
    locked: { name: lockedName, storage: locked, setup },
    wideSetup: () => opening ??= openWide(),
    tools,
    scratch: scratch.path,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}
