import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type { ReadStreamFromLastSnapshotResult } from "../../storage/model.ts";
import {
  assembleStreamView,
  type MiniblockRow,
  type MinipoolRow,
} from "../../storage/rules.ts";
import {
  miniblockSlot,
  selectLastMiniblock,
  selectStream,
} from "../sql/reading.ts";
import type { Store, StreamCall } from "../store.ts";

/** Reads what a client needs to follow a stream. */
export async function readStream(
  store: Store,
  call: StreamCall,
  numPreceding: number,
): Promise<ReadStreamFromLastSnapshotResult> {
  const { name, streamId, signal } = call;
  const [{ rows: [stream, ...rows] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectStream),
      streamId,
      BigInt(numPreceding),
    )],
  );
  if (stream === undefined || stream[1] >= miniblockSlot) {
    throw streamNotFound(streamId);
  }
  const blocks: MiniblockRow[] = [];
  const minipool: MinipoolRow[] = [];
  for (const [number, slot, data, snapshot] of rows) {
    if (slot === miniblockSlot) {
      blocks.push({ number, data: data!, snapshot });
    } else {
      minipool.push({ generation: number, slot: Number(slot), envelope: data });
    }
  }
  return assembleStreamView(streamId, {
    latestSnapshot: stream[0],
    blocks,
    lastBelow: blocks.length > 0 ? undefined : await lastStored(store, call),
    minipool,
    numPreceding,
  });
}

/** Only a corrupt stream has nothing from its latest snapshot on. */
async function lastStored(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<bigint | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectLastMiniblock), streamId)],
  );
  return row?.[0] ?? undefined;
}
