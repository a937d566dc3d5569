/** Everything that a run needs in place before anything is measured. */

import { type Entrant, storeAndBaseline } from "./entrant.ts";
import { plainInsert } from "./limits/plain_insert.ts";
import { lockedName, Unchecked, uncheckedName } from "./limits/unchecked.ts";
import { makeScratch } from "./limits/scratch.ts";
import type { Tools } from "./limits/tools.ts";
import { openSite, type Site } from "./site.ts";
import type { Sizes } from "./sizes.ts";
import type { BatchContender, WriteSubject } from "./workload.ts";

/** A site with its entrants, and what the limits need. */
export interface Arena extends AsyncDisposable {
  site: Site;
  sizes: Sizes;
  store: Entrant;
  nodeWay: Entrant;
  plain: BatchContender;
  unchecked: Entrant<WriteSubject>;
  locked: Entrant<WriteSubject>;
  /** A store with many connections, opened when it is first asked for. */
  wideSite(): Promise<Site>;
  tools: Tools;
  /** A directory for the tools' files. */
  scratch: string;
}

/** What an arena is made of. */
export interface ArenaOptions {
  url: string;
  sizes: Sizes;
  tools: Tools;
  /** Default: the store's own. */
  partitions?: number;
}

/** Opens the stores; disposing closes them and drops their schemas. */
export async function openArena(
  { url, sizes, tools, partitions }: ArenaOptions,
): Promise<Arena> {
  await using stack = new AsyncDisposableStack();
  const options = partitions === undefined ? {} : { partitions };
  const scratch = stack.use(await makeScratch());
  const site = stack.use(await openSite(url, options));
  const { entrants: [store, nodeWay], baseline } = storeAndBaseline(site);
  stack.use(baseline);
  const plain = stack.use(
    plainInsert(site, { clients: sizes.writers, events: sizes.minipoolEvents }),
  );
  const unchecked = stack.use(await Unchecked.open(site, { locks: false }));
  const locked = stack.use(await Unchecked.open(site, { locks: true }));
  const cleanUp = stack.move();
  let opening: Promise<Site> | undefined;
  const openWide = async () => {
    const maxConnections = sizes.manyConnections;
    return cleanUp.use(await openSite(url, { ...options, maxConnections }));
  };
  return {
    site,
    sizes,
    store,
    nodeWay,
    plain,
    unchecked: { name: uncheckedName, subject: unchecked, site },
    locked: { name: lockedName, subject: locked, site },
    wideSite: () => opening ??= openWide(),
    tools,
    scratch: scratch.path,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}
