import { bind } from "../../database/statement.ts";
import { checkNewStreamId } from "../../storage/arguments.ts";
import {
  archivePositionMismatch,
  ephemeralStream,
  storedExternally,
  streamExists,
  streamHasMinipool,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { insertStream } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { creating, noLeftovers } from "./leftovers.ts";
import { endsWithBlock } from "./recognise.ts";
import {
  findState,
  readState,
  type StreamState,
  unchanged,
} from "./stream_state.ts";
import { miniblockRows, miniblocksBytes } from "./write_miniblocks.ts";

/** See {@linkcode StreamStorage.createStreamArchiveStorage}. */
export async function createStreamArchiveStorage(
  store: Store,
  call: StreamCall,
): Promise<void> {
  const { streamId } = call;
  checkNewStreamId(streamId);
  const write = creating(store, call, {
    withoutLock: true,
    bound: [
      bind(store.catalog.of(streamId, insertStream), streamId, false),
      noLeftovers(store.catalog, streamId),
    ],
    refused: () => streamExists(streamId),
    wasDone: (look) => isEmptyArchive(store, look),
  });
  await writeStream(store, call, write);
}

/** A new archive stream has only its row. */
async function isEmptyArchive(
  store: Store,
  call: StreamCall,
): Promise<boolean> {
  const range = { first: 0n, last: 0n };
  const state = await findState(store, call, range);
  return state !== undefined && state.last === undefined &&
    !state.hasMinipool && !state.ephemeral;
}

/** See {@linkcode StreamStorage.writeArchiveMiniblocks}. */
export async function writeArchiveMiniblocks(
  store: Store,
  call: StreamCall,
  start: bigint,
  given: readonly MiniblockDescriptor[],
): Promise<void> {
  const miniblocks = given.map((block, i) => ({
    ...block,
    number: start + BigInt(i),
  }));
  const last = miniblocks.at(-1);
  await writeStream(store, call, {
    bytes: miniblocksBytes(miniblocks),
    bound: async () => {
      const none = { first: start, last: start - 1n };
      const state = await readState(store, call, none);
      checkArchive(state, start);
      return [
        unchanged(store, state),
        ...await miniblockRows(store.catalog, call, miniblocks),
      ];
    },
    wasDone: async (look) =>
      last !== undefined && await endsWithBlock(store, look, last),
  });
}

function checkArchive(state: StreamState, start: bigint): void {
  const { streamId, last = -1n } = state;
  if (state.blockdataExt !== "D") throw storedExternally(streamId);
  if (last + 1n !== start) throw archivePositionMismatch(streamId, start, last);
  if (state.ephemeral) throw ephemeralStream(streamId);
  if (state.hasMinipool) throw streamHasMinipool(streamId);
}
