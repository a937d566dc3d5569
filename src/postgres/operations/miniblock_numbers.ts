import { bind } from "../../database/statement.ts";
import {
  corruptStream,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { selectLastExternal } from "../sql/external.ts";
import {
  selectLastMiniblock,
  selectRanges,
  selectWholeRun,
} from "../sql/reading.ts";
import type { ReadStore, StreamCall } from "../store.ts";
import { following, moved } from "./external_blocks.ts";
import { lookAtBlocks } from "./look.ts";
import {
  numbersOf,
  rangesOfRows,
  rangesWithSnapshots,
  seeExternal,
  type SeenRanges,
} from "./snapshot_search.ts";

/** See {@linkcode StreamReader.getLastMiniblockNumber}. */
export async function getLastMiniblockNumber(
  store: ReadStore,
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

/** See {@linkcode StreamReader.getMaxArchivedMiniblockNumber}. */
export async function getMaxArchivedMiniblockNumber(
  store: ReadStore,
  call: StreamCall,
): Promise<bigint> {
  const found = await findLast(store, call);
  if (found === undefined) throw streamNotFound(call.streamId);
  return found.last ?? -1n;
}

/** The last block, wherever it is stored; undefined for an unknown stream. */
export function findLast(
  store: ReadStore,
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

/** See {@linkcode StreamReader.getMiniblockNumberRanges}. */
export async function getMiniblockNumberRanges(
  store: ReadStore,
  call: StreamCall,
): Promise<MiniblockRange[]> {
  const { ranges } = await rangesWithSnapshots(
    store,
    call,
    () => following(call.streamId, () => seeRanges(store, call)),
  );
  return ranges;
}

async function seeRanges(
  store: ReadStore,
  call: StreamCall,
): Promise<SeenRanges | typeof moved> {
  const { catalog } = store;
  const { streamId } = call;
  const { rows: [stream], isStill } = await lookAtBlocks(
    store,
    call,
    bind(catalog.of(streamId, selectWholeRun), streamId),
  );
  if (stream === undefined) throw streamNotFound(streamId);
  const [location, count, first, last, snapshots] = stream;
  if (location !== "D") return await seeExternal(store, call);
  if (first === null || last === null) return { ranges: [] };
  if (count === last - first + 1n) {
    const snapshotSeqNums = await numbersOf(snapshots);
    const run = { startInclusive: first, endInclusive: last, snapshotSeqNums };
    return { ranges: [run], isStill };
  }
  const gapped = await lookAtBlocks(
    store,
    call,
    bind(catalog.of(streamId, selectRanges), streamId),
  );
  // The stream was deleted, or moved into object storage.
  if (gapped.rows.length === 0) return moved;
  const ranges = await rangesOfRows(gapped.rows);
  return { ranges, isStill: gapped.isStill };
}
