import { bind, type Bound } from "../../database/statement.ts";
import { checkNewStreamId } from "../../storage/arguments.ts";
import {
  miniblockExists,
  notEphemeral,
  streamExists,
} from "../../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { checkSealable } from "../../storage/write_rules.ts";
import { streamType } from "../../storage/stream_id.ts";
import { putTask } from "../sql/media_tasks.ts";
import {
  insertChunk,
  insertFreeMiniblock,
  insertMiniblock,
} from "../sql/miniblocks.ts";
import { deleteMinipool, insertMarker } from "../sql/minipools.ts";
import { selectMiniblock } from "../sql/state.ts";
import {
  checkEphemeral,
  deleteEphemeralAge,
  insertEphemeralAge,
  insertStream,
  regularizeStream,
} from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import {
  runAlone,
  type StreamWrite,
  writeStream,
} from "../write_path/stream_write.ts";
import { creating, noLeftovers } from "./leftovers.ts";
import { isBlockStored, isJustCreated } from "./recognise.ts";
import { findState, readState, unchanged } from "./stream_state.ts";
import { blockRow, miniblocksBytes } from "./write_miniblocks.ts";

/** See {@linkcode StreamStorage.createEphemeralStreamStorage}. */
export async function createEphemeralStreamStorage(
  store: Store,
  call: StreamCall,
  genesis: MiniblockDescriptor,
): Promise<void> {
  const block = { ...genesis, number: 0n };
  await writeStream(store, call, creation(store, call, block));
}

/** Creates the stream, whose age starts now. */
function creation(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): StreamWrite<readonly Bound[]> {
  const { catalog } = store;
  const { streamId } = call;
  checkNewStreamId(streamId);
  return creating(store, call, {
    bytes: miniblocksBytes([block]),
    withoutLock: true,
    bound: [
      bind(catalog.of(streamId, insertStream), streamId, true),
      bind(catalog.of(streamId, insertEphemeralAge), streamId),
      noLeftovers(catalog, streamId),
      bind(catalog.of(streamId, insertMiniblock), ...blockRow(streamId, block)),
    ],
    refused: () => streamExists(streamId),
    wasDone: (look) => isJustCreated(store, look, block, true),
  });
}

/** See {@linkcode StreamStorage.writeEphemeralMiniblock}. */
export async function writeEphemeralMiniblock(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const row = blockRow(streamId, block);
  await writeStream(store, call, {
    bytes: miniblocksBytes([block]),
    shared: {
      bind: () => ({
        bound: bind(catalog.of(streamId, insertChunk), ...row),
      }),
    },
    bound: [
      bind(catalog.of(streamId, checkEphemeral), streamId),
      bind(catalog.of(streamId, insertFreeMiniblock), ...row),
    ],
    settle: (results) => {
      if (results === undefined || results[1].count === 1) return;
      throw miniblockExists(streamId, block.number);
    },
    wasDone: (look) => isChunkStored(store, look, block),
    refused: async ({ reason }) => {
      if (reason !== "stream_not_found") {
        return notEphemeral("ALREADY_EXISTS", streamId);
      }
      // Still in the stream's turn, so later calls find the stream.
      return await runAlone(store, call, creation(store, call, block), false);
    },
  });
}

/** Checks the stream, too: one of another kind may have the same block. */
async function isChunkStored(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): Promise<boolean> {
  const none = { first: 0n, last: -1n };
  const state = await findState(store, call, none);
  return state?.ephemeral === true && await isBlockStored(store, call, block);
}

const allNumbers = { first: 0n, last: 2n ** 63n - 1n };

/** See {@linkcode StreamStorage.normalizeEphemeralStream}. */
export async function normalizeEphemeralStream(
  store: Store,
  call: StreamCall,
): Promise<Uint8Array> {
  const { catalog, transactions } = store;
  const { name, streamId } = call;
  const isMoved = store.media !== undefined &&
    streamType(streamId) === "media";
  let sealed: { headerHash: Uint8Array; last: bigint } | undefined;
  return await writeStream(store, call, {
    endsBeliefs: true,
    bound: async () => {
      const state = await readState(store, call, allNumbers);
      if (!state.ephemeral) throw notEphemeral("NOT_FOUND", streamId);
      const [{ rows: [genesis] }] = await transactions.read(
        { name, tags: streamId },
        [bind(catalog.of(streamId, selectMiniblock), streamId, 0n)],
      );
      sealed = checkSealable(streamId, genesis?.[0], state.numbers);
      return [
        unchanged(store, state),
        bind(
          catalog.of(streamId, regularizeStream),
          streamId,
          state.latestSnapshot,
        ),
        bind(catalog.of(streamId, deleteEphemeralAge), streamId),
        bind(catalog.of(streamId, deleteMinipool), streamId),
        bind(catalog.of(streamId, insertMarker), streamId, sealed.last + 1n),
        // In the same transaction, so that no crash loses the task.
        ...(isMoved
          ? [bind(catalog.of(streamId, putTask), streamId, "offload")]
          : []),
      ];
    },
    settle: () => {
      if (isMoved) store.notices.mediaTask();
      return sealed!.headerHash;
    },
    // The stream was ephemeral when this was sent, and only normalising changes
    // that.
    wasDone: async (look) => {
      const none = { first: 0n, last: -1n };
      const state = await findState(store, look, none);
      return state?.ephemeral === false;
    },
  });
}
