import { bind, type Bound } from "../../database/statement.ts";
import { streamExists } from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Catalog } from "../catalog.ts";
import { deleteCandidates } from "../sql/candidates.ts";
import { deleteMiniblocks, insertMiniblock } from "../sql/miniblocks.ts";
import {
  deleteMinipool,
  insertMarker,
  insertMissingMarker,
} from "../sql/minipools.ts";
import {
  fillNewStream,
  insertStream,
  insertWholeStream,
  repairGenesis,
} from "../sql/streams.ts";
import { lockOf, type Store, type StreamCall, writeStream } from "../store.ts";
import { isBlockStored, isJustCreated } from "./recognise.ts";
import { snapshotOf } from "./write_miniblocks.ts";

/** Creates a regular stream, or repairs one that has an empty genesis. */
export async function createStream(
  store: Store,
  call: StreamCall,
  genesis: MiniblockDescriptor,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const snapshot = snapshotOf(genesis);
  await writeStream(store, call, {
    bytes: genesis.data.length + (snapshot?.length ?? 0),
    withoutLock: true,
    shared: () => {
      const row = [streamId, genesis.data, snapshot] as const;
      return {
        bound: bind(catalog.of(streamId, insertWholeStream), ...row),
        behindRow: () => bind(catalog.of(streamId, fillNewStream), ...row),
      };
    },
    // Made when they are needed, which is seldom.
    bound: () =>
      Promise.resolve([
        bind(catalog.of(streamId, insertStream), streamId, false),
        ...leftoversGone(catalog, streamId),
        bind(
          catalog.of(streamId, insertMiniblock),
          streamId,
          0n,
          genesis.data,
          snapshot,
        ),
        bind(catalog.of(streamId, insertMarker), streamId, 1n),
      ]),
    settle: () => {},
    refused: async ({ figures }, afterUnknown) => {
      if (figures["repairable"] && await repair(store, call, genesis)) return;
      const block = { number: 0n, data: genesis.data };
      if (afterUnknown && await isJustCreated(store, call, block, false)) {
        return;
      }
      throw streamExists(streamId);
    },
  });
}

/** Removes what an earlier stream of this id has left in its tables. */
export function leftoversGone(catalog: Catalog, streamId: StreamId): Bound[] {
  return [deleteMiniblocks, deleteMinipool, deleteCandidates].map((template) =>
    bind(catalog.of(streamId, template), streamId)
  );
}

/** Fills the empty genesis, in the turn of the call that found it. */
async function repair(
  store: Store,
  call: StreamCall,
  genesis: MiniblockDescriptor,
): Promise<boolean> {
  const { catalog, transactions } = store;
  const { name, streamId } = call;
  const { results: [, , repaired], afterUnknown } = await transactions.write(
    { name, tags: streamId },
    [
      store.ownership.fence,
      lockOf(store, streamId),
      bind(
        catalog.of(streamId, repairGenesis),
        streamId,
        genesis.data,
        snapshotOf(genesis),
      ),
      bind(catalog.of(streamId, insertMissingMarker), streamId),
    ],
  );
  store.legacySnapshots.forget(streamId);
  if (repaired.count === 1) return true;
  const block = { number: 0n, data: genesis.data };
  return afterUnknown && await isBlockStored(store, call, block);
}
