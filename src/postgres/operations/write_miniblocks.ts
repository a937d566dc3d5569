import type { Rejection } from "../../database/rejection.ts";
import { bind, type Bound, copyManyIn } from "../../database/statement.ts";
import {
  ephemeralStream,
  lastMiniblockMismatch,
  minipoolMissing,
  minipoolSizeMismatch,
  noMiniblocks,
  storedExternally,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import type { StreamStorageError } from "../../storage/errors.ts";
import { fault } from "../../storage/fault.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
  PreviousMinipool,
} from "../../storage/model.ts";
import { checkMinipool } from "../../storage/rules.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { lastSnapshotIn } from "../../storage/write_rules.ts";
import type { Catalog } from "../catalog.ts";
import { deleteCandidatesBelow } from "../sql/candidates.ts";
import {
  checkSwap,
  copyMiniblocks,
  insertMiniblock,
  swapMiniblocks,
  swapUnchecked,
} from "../sql/miniblocks.ts";
import {
  copyMinipool,
  deleteMinipool,
  insertMarker,
  newMinipoolRows,
  selectMinipoolKeys,
} from "../sql/minipools.ts";
import { updateHead } from "../sql/streams.ts";
import type { Store, StreamCall } from "../store.ts";
import type { MinipoolEnd } from "../write_path/minipool_cache.ts";
import type { BoundWrite } from "../write_path/queued_write.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { admitBlocks } from "./block_quota.ts";
import { endsWithBlock } from "./recognise.ts";

/** Blocks that end a minipool, and the minipool that follows them. */
interface MiniblocksWrite {
  miniblocks: MiniblockDescriptor[];
  newMinipool: NewMinipool;
  prevMinipool: PreviousMinipool;
}

/** See {@linkcode StreamStorage.writeMiniblocks}. */
export async function writeMiniblocks(
  store: Store,
  call: StreamCall,
  miniblocks: MiniblockDescriptor[],
  newMinipool: NewMinipool,
  prevMinipool: PreviousMinipool,
): Promise<void> {
  const write = { miniblocks, newMinipool, prevMinipool };
  const latest = lastSnapshotIn(miniblocks);
  const admission = admitBlocks(store, call, write, latest);
  const check = admission?.check;
  await writeStream(store, call, {
    bytes: payloadBytes(write),
    ...(check === undefined && {
      shared: {
        bind: (cached) => sharedSwap(store, call, write, { latest, cached }),
      },
    }),
    bound: async () => {
      await check?.();
      return await swap(store, call, write, latest);
    },
    refused: (rejection) => explain(store, call, write, rejection),
    wasDone: (look) => endsWithBlock(store, look, miniblocks.at(-1)!),
  });
  admission?.done();
  if (latest !== undefined) store.notices.snapshotWritten(call.streamId);
}

/** The statements of a swap of any size. */
async function swap(
  { catalog }: Store,
  call: StreamCall,
  { miniblocks, newMinipool, prevMinipool: { generation, size } }:
    MiniblocksWrite,
  latest: bigint | undefined,
): Promise<Bound[]> {
  const { streamId } = call;
  return [
    bind(
      catalog.of(streamId, checkSwap),
      streamId,
      generation,
      size === undefined ? null : BigInt(size),
    ),
    bind(catalog.of(streamId, deleteMinipool), streamId),
    await minipoolRows(catalog, call, newMinipool),
    ...await miniblockRows(catalog, call, miniblocks),
    bind(
      catalog.of(streamId, deleteCandidatesBelow),
      streamId,
      newMinipool.generation,
    ),
    ...(latest === undefined
      ? []
      : [bind(catalog.of(streamId, updateHead), streamId, latest)]),
  ];
}

/** The swap as one statement, unchecked if the cache allows it. */
function sharedSwap(
  store: Store,
  call: StreamCall,
  write: MiniblocksWrite,
  { latest, cached }: {
    latest: bigint | undefined;
    cached: MinipoolEnd | undefined;
  },
): BoundWrite {
  // A latest snapshot updates the stream's row, and the row's new version has
  // no last locker.
  if (latest !== undefined) {
    return { bound: checkedSwap(store, call, write, latest) };
  }
  const { miniblocks, newMinipool, prevMinipool } = write;
  const isUnchecked = cached !== undefined && cached.isContiguous &&
    cached.generation === prevMinipool.generation &&
    cached.next === (prevMinipool.size ?? cached.next) &&
    miniblocks.length === 1;
  return {
    bound: isUnchecked
      ? uncheckedSwap(store, call, write)
      : checkedSwap(store, call, write, null),
    end: {
      generation: newMinipool.generation,
      next: newMinipool.envelopes.length,
      isContiguous: true,
    },
    isUnchecked,
  };
}

function checkedSwap(
  { catalog }: Store,
  { streamId }: StreamCall,
  { miniblocks, newMinipool, prevMinipool: { generation, size } }:
    MiniblocksWrite,
  latest: bigint | null,
): Bound {
  return bind(
    catalog.of(streamId, swapMiniblocks),
    streamId,
    generation,
    size === undefined ? null : BigInt(size),
    miniblocks.map(({ data }) => data),
    miniblocks.map(snapshotOf),
    [null, ...newMinipool.envelopes],
    latest,
  );
}

function uncheckedSwap(
  { catalog }: Store,
  { streamId }: StreamCall,
  { miniblocks: [block], newMinipool: { envelopes } }: MiniblocksWrite,
): Bound {
  const { number, data } = block!;
  const statement = catalog.of(streamId, swapUnchecked);
  return bind(statement, streamId, number, data, [null, ...envelopes]);
}

/** From this many rows on, COPY costs less than an INSERT for each row. */
const copyFrom = 4;

/** The statements that add the blocks. */
export async function miniblockRows(
  catalog: Catalog,
  { streamId }: StreamCall,
  miniblocks: readonly MiniblockDescriptor[],
): Promise<Bound[]> {
  const rows = miniblocks.map((block) => blockRow(streamId, block));
  if (rows.length >= copyFrom) {
    const copy = catalog.of(streamId, copyMiniblocks);
    const types = ["bpchar", "int8", "bytea", "bytea?"] as const;
    return [await copyManyIn(copy, types, rows)];
  }
  const insert = catalog.of(streamId, insertMiniblock);
  return rows.map((row) => bind(insert, ...row));
}

/** The columns of a block, in the order of the statements that insert one. */
export function blockRow(
  streamId: StreamId,
  block: MiniblockDescriptor,
): [StreamId, bigint, Uint8Array, Uint8Array | null] {
  return [streamId, block.number, block.data, snapshotOf(block)];
}

/** The block's snapshot; null, as in the table, if it is absent or empty. */
export function snapshotOf(block: MiniblockDescriptor): Uint8Array | null {
  return block.snapshot !== undefined && block.snapshot.length > 0
    ? block.snapshot
    : null;
}

async function minipoolRows(
  catalog: Catalog,
  { streamId }: StreamCall,
  { generation, envelopes }: NewMinipool,
): Promise<Bound> {
  if (envelopes.length === 0) {
    return bind(catalog.of(streamId, insertMarker), streamId, generation);
  }
  const copy = catalog.of(streamId, copyMinipool);
  return await newMinipoolRows(copy, streamId, generation, envelopes);
}

function payloadBytes({ miniblocks, newMinipool }: MiniblocksWrite): number {
  let bytes = miniblocksBytes(miniblocks);
  for (const envelope of newMinipool.envelopes) bytes += envelope.length;
  return bytes;
}

/** The bytes of blocks with their snapshots. */
export function miniblocksBytes(
  miniblocks: readonly MiniblockDescriptor[],
): number {
  let bytes = 0;
  for (const { data, snapshot } of miniblocks) {
    bytes += data.length + (snapshot?.length ?? 0);
  }
  return bytes;
}

async function explain(
  store: Store,
  { name, streamId }: StreamCall,
  { prevMinipool }: MiniblocksWrite,
  { reason, figures }: Rejection,
): Promise<StreamStorageError> {
  switch (reason) {
    case "stream_not_found":
      return streamNotFound(streamId);
    case "ephemeral_stream":
      return ephemeralStream(streamId);
    case "stored_externally":
      return storedExternally(streamId);
    case "no_miniblocks":
      return noMiniblocks("INTERNAL", streamId);
    case "last_miniblock_mismatch":
      return lastMiniblockMismatch(
        streamId,
        prevMinipool.generation,
        figures["last"]!,
      );
    case "minipool_missing":
      return minipoolMissing(streamId);
    case "minipool_size_mismatch":
      return minipoolSizeMismatch(
        streamId,
        prevMinipool.size!,
        Number(figures["actual"]),
      );
    default: {
      const [{ rows }] = await store.transactions.read(
        { name, tags: streamId },
        [bind(store.catalog.of(streamId, selectMinipoolKeys), streamId)],
      );
      const keys = rows.map(([generation, slot]) => ({
        generation,
        slot: Number(slot),
      }));
      checkMinipool("INTERNAL", streamId, keys, prevMinipool.generation);
      return fault(
        "INTERNAL",
        "minipool_changed",
        `Minipool of stream ${streamId} was changed by another writer`,
        { streamId },
      );
    }
  }
}
