import { bind, type Bound } from "../../database/statement.ts";
import { checkNewStreamId } from "../../storage/arguments.ts";
import { streamExists } from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Catalog } from "../catalog.ts";
import { insertMiniblock } from "../sql/miniblocks.ts";
import { insertMarker, insertMissingMarker } from "../sql/minipools.ts";
import {
  insertStream,
  insertWholeStream,
  repairGenesis,
} from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { runAlone, writeStream } from "../write_path/stream_write.ts";
import { creating, noLeftovers } from "./leftovers.ts";
import { isBlockStored, isJustCreated } from "./recognise.ts";
import { blockRow, snapshotOf } from "./write_miniblocks.ts";

/** See {@linkcode StreamStorage.createStreamStorage}. */
export async function createStreamStorage(
  store: Store,
  call: StreamCall,
  genesis: MiniblockDescriptor,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  checkNewStreamId(streamId);
  const snapshot = snapshotOf(genesis);
  const block = { number: 0n, data: genesis.data };
  // Another process may have deleted an earlier stream of this id.
  store.cache.forget(streamId);
  const created = store.quotas?.creates(streamId);
  let isNew = true;
  const write = creating(store, call, {
    bytes: genesis.data.length + (snapshot?.length ?? 0),
    withoutLock: true,
    shared: {
      bind: () => ({
        bound: bind(
          catalog.of(streamId, insertWholeStream),
          streamId,
          genesis.data,
          snapshot,
        ),
      }),
    },
    // Made only when they are needed, which is rare.
    bound: () => Promise.resolve(createdRows(catalog, streamId, genesis)),
    refused: async ({ figures }) => {
      isNew = false;
      if (figures["repairable"] && await repair(store, call, genesis)) return;
      return streamExists(streamId);
    },
    wasDone: (look) => isJustCreated(store, look, block, false),
  });
  await writeStream(store, call, write);
  if (isNew) created?.();
}

/** The statements that create a stream of any size. */
function createdRows(
  catalog: Catalog,
  streamId: StreamId,
  genesis: MiniblockDescriptor,
): Bound[] {
  const row = blockRow(streamId, { ...genesis, number: 0n });
  return [
    bind(catalog.of(streamId, insertStream), streamId, false),
    noLeftovers(catalog, streamId),
    bind(catalog.of(streamId, insertMiniblock), ...row),
    bind(catalog.of(streamId, insertMarker), streamId, 1n),
  ];
}

/** Fills the empty genesis, in the turn of the call that has found it. */
async function repair(
  store: Store,
  call: StreamCall,
  genesis: MiniblockDescriptor,
): Promise<boolean> {
  const { catalog } = store;
  const { streamId } = call;
  return await runAlone(store, call, {
    endsBeliefs: true,
    bound: [
      bind(
        catalog.of(streamId, repairGenesis),
        streamId,
        genesis.data,
        snapshotOf(genesis),
      ),
      bind(catalog.of(streamId, insertMissingMarker), streamId),
    ],
    settle: (results) => results === undefined || results[0].count === 1,
    wasDone: (look) => isBlockStored(store, look, { ...genesis, number: 0n }),
  }, false);
}
