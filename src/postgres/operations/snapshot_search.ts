/**
 * Tells which blocks carry a snapshot, as one statement saw them.
 *
 * Whether one stands beside the data the statement says. Whether one is inside
 * says only the data, which is read by later statements the first time and
 * remembered. It is one consistent snapshot all the same: what a block's data
 * holds is true as long as the block is there, before that statement and after
 * it. It is not if the block was removed meanwhile, and maybe another written
 * under its number. Then all is looked at again:
 *
 * - If a block is not found any more, it was removed.
 * - If it is found, but is another one: only the owner of the schema writes,
 *   which is this process, and it marks what is known of the stream as outdated
 *   when a removal is over. It writes the new block after that, so whoever
 *   reads the new block reads the mark too.
 *
 * (An empty genesis that is repaired meanwhile is told of as repaired.)
 */

import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { rangesOf } from "../../storage/rules.ts";
import type { SearchedBlocks } from "../legacy_snapshots.ts";
import type { Store, StreamCall } from "../store.ts";
import type { SeenBlock } from "./external_blocks.ts";
import { findPage } from "./read_miniblocks.ts";
import { streamChanged } from "./stream_state.ts";

/** A stream that is trimmed more often during one call is told of as changing. */
const maxLooks = 10;

/**
 * What `look` sees, in one statement, and the ranges of its blocks. It is
 * called again if blocks were removed meanwhile.
 */
export async function rangesWithSnapshots<
  T extends { blocks: readonly SeenBlock[] },
>(
  store: Store,
  call: StreamCall,
  look: () => Promise<T>,
): Promise<T & { ranges: MiniblockRange[] }> {
  const { streamId } = call;
  const { legacySnapshots } = store.cache;
  for (let looks = 0; looks < maxLooks; looks++) {
    const known = legacySnapshots.open(streamId);
    try {
      const seen = await look();
      const found = await search(store, call, known, seen.blocks);
      if (found === undefined) continue;
      const ranges = rangesOf(seen.blocks.map(({ number, hasOwn, holds }) => ({
        number,
        hasSnapshot: hasOwn ||
          (holds ?? known.get(number) ?? found.has(number)),
      })));
      return { ...seen, ranges };
    } finally {
      legacySnapshots.close(streamId, known);
    }
  }
  throw streamChanged(streamId);
}

/**
 * Which of the blocks that were not searched before hold a snapshot inside;
 * undefined if blocks were removed meanwhile.
 */
async function search(
  store: Store,
  call: StreamCall,
  known: SearchedBlocks,
  blocks: readonly SeenBlock[],
): Promise<ReadonlySet<bigint> | undefined> {
  const unsearched = new Set<bigint>();
  let last = 0n;
  for (const { number, hasOwn, holds } of blocks) {
    if (hasOwn || (holds ?? known.get(number)) !== undefined) continue;
    unsearched.add(number);
    last = number;
  }
  const found = new Set<bigint>();
  // Each page takes what it has of them, so the next one begins behind it.
  for (const from of unsearched) {
    const range = { from, last, omitSnapshot: true };
    const page = await findPage(store, call, range);
    if (known.outdated || page?.blocks[0]?.number !== from) return undefined;
    for (const { number, data } of page.blocks) {
      if (!unsearched.delete(number)) continue;
      const holds = hasLegacySnapshot(data);
      store.cache.legacySnapshots.learn(known, number, holds);
      if (holds) found.add(number);
    }
  }
  return found;
}
