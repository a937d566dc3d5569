import { bind } from "../../database/statement.ts";
import {
  corruptStream,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { streamType } from "../../storage/stream_id.ts";
import { selectLastExternal } from "../sql/external.ts";
import { selectLastMiniblock, selectMiniblockNumbers } from "../sql/reading.ts";
import type { Store, StreamCall } from "../store.ts";
import { following, moved, readExternalNumbers } from "./external_blocks.ts";
import { rangesWithSnapshots } from "./snapshot_search.ts";

/** The number of the stream's last block. */
export async function lastMiniblockNumber(
  store: Store,
  call: StreamCall,
): Promise<bigint> {
  const { streamId } = call;
  const found = await findLast(store, call);
  if (found === undefined) throw streamNotFound(streamId);
  const { last, isEmptyGenesis } = found;
  if (last === undefined) throw noMiniblocks("NOT_FOUND", streamId);
  if (isEmptyGenesis) throw corruptStream(streamId, 0n);
  return last;
}

/** The last block, wherever it is; undefined for an unknown stream. */
export function findLast(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<
  { last: bigint | undefined; isEmptyGenesis: boolean } | undefined
> {
  const { catalog, transactions } = store;
  const context = { name, tags: streamId, signal };
  return following(streamId, async () => {
    let [{ rows: [row] }] = await transactions.read(context, [
      bind(catalog.of(streamId, selectLastMiniblock), streamId),
    ]);
    if (row !== undefined && row[2] !== "D") {
      [{ rows: [row] }] = await transactions.read(context, [
        bind(catalog.of(streamId, selectLastExternal), streamId),
      ]);
      if (row?.[2] === "D") return moved;
    }
    if (row === undefined) return undefined;
    const [last, isEmptyGenesis] = row;
    return { last: last ?? undefined, isEmptyGenesis: isEmptyGenesis === true };
  });
}

/** The runs of stored numbers, with the blocks that carry a snapshot. */
export async function miniblockRanges(
  store: Store,
  call: StreamCall,
): Promise<MiniblockRange[]> {
  const { name, streamId, signal } = call;
  let wasEmpty = false;
  const look = async () => {
    const [{ rows }] = await store.transactions.read(
      { name, tags: streamId, signal },
      [bind(store.catalog.of(streamId, selectMiniblockNumbers), streamId)],
    );
    if (rows.length > 0 || streamType(streamId) !== "media") {
      return { blocks: rows.map(([number, hasOwn]) => ({ number, hasOwn })) };
    }
    const blocks = await readExternalNumbers(store, call);
    if (blocks !== moved) return { blocks };
    // Moved between the two looks, or there is nothing.
    if (wasEmpty) return { blocks: [] };
    wasEmpty = true;
    return moved;
  };
  const { ranges } = await rangesWithSnapshots(
    store,
    call,
    () => following(streamId, look),
  );
  return ranges;
}
