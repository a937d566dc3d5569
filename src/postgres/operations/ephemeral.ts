import { bind, type Bound } from "../../database/statement.ts";
import {
  miniblockExists,
  notEphemeral,
  streamExists,
  streamNotFound,
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
import { selectEphemeralNumbers, selectMiniblock } from "../sql/state.ts";
import {
  checkEphemeral,
  deleteEphemeralAge,
  insertEphemeralAge,
  insertStream,
  regularizeStream,
} from "../sql/streams.ts";
import {
  runAlone,
  type Store,
  type StreamCall,
  type StreamWrite,
  writeStream,
} from "../store.ts";
import { leftoversGone } from "./create_stream.ts";
import { isBlockStored, isJustCreated, looking } from "./recognise.ts";
import { readState, streamChanged, unchanged } from "./stream_state.ts";
import { miniblocksBytes, snapshotOf } from "./write_miniblocks.ts";

/** Creates an ephemeral stream with this block; its age starts now. */
export async function createEphemeralStream(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): Promise<void> {
  await writeStream(store, call, creation(store, call, block));
}

function creation(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): StreamWrite<readonly Bound[], void> {
  const { catalog } = store;
  const { streamId } = call;
  return {
    bytes: miniblocksBytes([block]),
    withoutLock: true,
    bound: [
      bind(catalog.of(streamId, insertStream), streamId, true),
      bind(catalog.of(streamId, insertEphemeralAge), streamId),
      ...leftoversGone(catalog, streamId),
      bind(
        catalog.of(streamId, insertMiniblock),
        streamId,
        block.number,
        block.data,
        snapshotOf(block),
      ),
    ],
    settle: () => {},
    refused: async (_, afterUnknown) => {
      if (afterUnknown && await isJustCreated(store, call, block, true)) return;
      throw streamExists(streamId);
    },
  };
}

/** Adds a block to an ephemeral stream; the first one creates it. */
export async function writeEphemeral(
  store: Store,
  call: StreamCall,
  block: MiniblockDescriptor,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  await writeStream(store, call, {
    bytes: miniblocksBytes([block]),
    shared: () => ({
      bound: bind(
        catalog.of(streamId, insertChunk),
        streamId,
        block.number,
        block.data,
        snapshotOf(block),
      ),
    }),
    bound: [
      bind(catalog.of(streamId, checkEphemeral), streamId),
      bind(
        catalog.of(streamId, insertFreeMiniblock),
        streamId,
        block.number,
        block.data,
        snapshotOf(block),
      ),
    ],
    settle: async ([, inserted], afterUnknown) => {
      if (inserted.count === 1) return;
      if (afterUnknown && await isBlockStored(store, call, block)) return;
      throw miniblockExists(streamId, block.number);
    },
    refused: async ({ reason }, afterUnknown) => {
      if (reason !== "stream_not_found") {
        throw notEphemeral("ALREADY_EXISTS", streamId);
      }
      // In the same turn: whoever called later finds the stream.
      const create = creation(store, call, block);
      await runAlone(store, call, create, afterUnknown);
    },
  });
}

/** The stored numbers of an ephemeral stream. */
export async function readEphemeralNumbers(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<bigint[]> {
  const [{ rows }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectEphemeralNumbers), streamId)],
  );
  const [first] = rows;
  if (first === undefined) throw streamNotFound(streamId);
  if (!first[0]) throw notEphemeral("NOT_FOUND", streamId);
  return rows.flatMap(([, number]) => number ?? []);
}

const allNumbers = { first: 0n, last: 2n ** 63n - 1n };

/** Makes a regular stream of a complete ephemeral one; its header's hash. */
export async function normalizeEphemeral(
  store: Store,
  call: StreamCall,
): Promise<Uint8Array> {
  const { catalog, transactions } = store;
  const { name, streamId } = call;
  const isMoved = store.media !== undefined &&
    streamType(streamId) === "media";
  let sealed: { headerHash: Uint8Array; last: bigint } | undefined;
  return await writeStream(store, call, {
    bytes: 0,
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
        // Written with the rest, so that no crash loses it.
        ...(isMoved
          ? [bind(catalog.of(streamId, putTask), streamId, "offload")]
          : []),
      ];
    },
    settle: () => {
      if (isMoved) store.media?.wake();
      return sealed!.headerHash;
    },
    refused: async (_, afterUnknown) => {
      if (afterUnknown) {
        const { ephemeral, last } = await readState(
          store,
          looking(call),
          allNumbers,
        );
        // Nothing but this makes an ephemeral stream a regular one.
        if (!ephemeral && last === sealed?.last) return sealed!.headerHash;
      }
      throw streamChanged(streamId);
    },
  });
}
