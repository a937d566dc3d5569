import { bind } from "../../database/statement.ts";
import {
  corruptStream,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { selectLastMiniblock, selectMiniblockNumbers } from "../sql/reading.ts";
import type { Store, StreamCall } from "../store.ts";
import { rangesWithSnapshots } from "./snapshot_search.ts";

/** The number of the stream's last block. */
export async function lastMiniblockNumber(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<bigint> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectLastMiniblock), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [last, isEmptyGenesis] = row;
  if (last === null) throw noMiniblocks("NOT_FOUND", streamId);
  if (isEmptyGenesis) throw corruptStream(streamId, 0n);
  return last;
}

/** The runs of stored numbers, with the blocks that carry a snapshot. */
export async function miniblockRanges(
  store: Store,
  call: StreamCall,
): Promise<MiniblockRange[]> {
  const { name, streamId, signal } = call;
  const { ranges } = await rangesWithSnapshots(store, call, async () => {
    const [{ rows }] = await store.transactions.read(
      { name, tags: streamId, signal },
      [bind(store.catalog.of(streamId, selectMiniblockNumbers), streamId)],
    );
    return {
      blocks: rows.map(([number, hasOwn]) => ({ number, hasOwn })),
    };
  });
  return ranges;
}
