/** What libpq reaches with the same blocks on the same server. */

import { copyIn, copyOut } from "../limits/psql.ts";
import { makeScratch } from "../limits/scratch.ts";
import { findTools } from "../limits/tools.ts";
import { newStreamIds } from "../data.ts";
import { insertStreams } from "../insert_streams.ts";
import { openSetup } from "../setup.ts";
import type { Figures } from "./place.ts";

/** As the table calls it. */
export const libpqName = "libpq";

const blocks = 100;
const blockBytes = 10 * 1024;

/** Measures the rows of psql; undefined where there is no psql. */
export interface Libpq extends AsyncDisposable {
  measure(row: string): Promise<Figures | undefined>;
}

/** Makes the tables that psql copies into and out of. */
export async function openLibpq(
  url: string,
  partitions: number,
): Promise<Libpq> {
  await using stack = new AsyncDisposableStack();
  const tools = await findTools();
  const scratch = stack.use(await makeScratch());
  const setup = stack.use(await openSetup(url, { partitions }));
  const ids = newStreamIds(16);
  await insertStreams(setup, ids, {
    miniblocks: blocks,
    miniblockBytes: blockBytes,
  });
  const rows = new Map([
    ["read-psql", copyOut(setup, tools, scratch.path, ids)],
    ["write-psql", copyIn(setup, tools, scratch.path, { blocks, blockBytes })],
  ]);
  const cleanUp = stack.move();
  return {
    async measure(row) {
      const found = await rows.get(row)?.measure(0);
      return found && { perSecond: found.operationsPerSecond };
    },
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}
