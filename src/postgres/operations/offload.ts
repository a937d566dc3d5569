/**
 * Moves the blocks of a sealed media stream into object storage.
 *
 *     look ──▶ upload ──▶ verify ──▶ commit
 *
 * - *look*: the stream is a media stream that is not written any more. Note the
 *   number, size and version of each block.
 * - *upload*: send the blocks one after another, page by page, as one new
 *   object that no earlier request can touch (object_changes.ts). The server
 *   hashes each block as it reads it, and we do so as we receive it.
 * - *verify*: the object has the right size and, when it is read back, every
 *   block has its hash.
 * - *commit*: one transaction under the stream's lock finds exactly those
 *   blocks in those versions, records where they are, deletes them and sets the
 *   location.
 *
 * A crash before the commit leaves the stream as it was, and perhaps an object
 * that no stream uses. The upload was recorded before it was sent, so the next
 * attempt or the offloader removes that object. After the commit, the object
 * exists and is verified.
 */

import { bind, type Bound } from "../../database/statement.ts";
import {
  corruptStream,
  ephemeralStream,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../../storage/errors.ts";
import { fault } from "../../storage/fault.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import { type StreamId, streamType } from "../../storage/stream_id.ts";
import { checkSealable } from "../../storage/write_rules.ts";
import type { Catalog } from "../catalog.ts";
import type { Media } from "../media.ts";
import {
  deleteExternal,
  deleteMediaBlocks,
  updateLocation,
} from "../sql/external.ts";
import { deleteTask } from "../sql/media_tasks.ts";
import { deleteMiniblocks } from "../sql/miniblocks.ts";
import {
  checkMovable,
  insertExternal,
  insertMediaBlocks,
  selectHashed,
  selectMovable,
  selectVersions,
} from "../sql/offloading.ts";
import { selectMiniblock } from "../sql/state.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import {
  type ExternalPlace,
  fetchRun,
  findLocation,
  hashOf,
  isSame,
  wrongBytes,
} from "./external_blocks.ts";
import { removeLeftovers } from "./media_leftovers.ts";
import { removeObject, strikeOut } from "./media_objects.ts";
import { ObjectChange } from "./object_changes.ts";
import { streamChanged } from "../stream_changed.ts";

/** The number of blocks, and the bytes, that were moved. */
export interface Moved {
  blocks: number;
  bytes: number;
}

/** A block to be moved, and what is found out about it on the way. */
interface Movable extends ExternalPlace {
  version: bigint;
  holdsSnapshot: boolean;
}

/**
 * Blocks of a stream that can be moved, at most: each takes some hundred bytes
 * of memory until the commit.
 */
const maxBlocks = 200_000;

/** Bytes of blocks in memory at a time. */
const pageBytes = 2n * 1024n * 1024n;

/**
 * Moves a stream; undefined if its blocks are there already. `onlySealed`
 * excludes three kinds of streams: those that may still be written to; those
 * whose last block is not the last chunk that their inception announces; and
 * those that were brought back meanwhile.
 */
export function offloadStream(
  store: Store,
  call: StreamCall,
  media: Media,
  { onlySealed }: { onlySealed: boolean },
): Promise<Moved | undefined> {
  const { streamId } = call;
  const body = async () => {
    const place = await placeOf(store, call);
    if (place === "kept" && onlySealed) return undefined;
    if (place === "elsewhere") {
      await removeLeftovers(store, call, media);
      return undefined;
    }
    const { numbering } = store.server;
    const blocks = await look(store, call);
    if (onlySealed) await checkSealed(store, call, blocks);
    const last = blocks.at(-1)!;
    const size = Number(last.start + last.size);
    const change = new ObjectChange(store, call, media);
    try {
      await upload(store, call, media, { blocks, size, change });
      await verify(media, call, blocks, size);
      await commit(store, call, media, { blocks, numbering, change });
    } catch (error) {
      await cleanUp(store, call, media, { change, error });
      throw error;
    }
    media.moved(size);
    return { blocks: blocks.length, bytes: size };
  };
  return media.turn(streamId, body, call.signal);
}

/**
 * Where the blocks of a stream are. Throws if the stream can't be moved. `kept`
 * means that they are in the database because they were brought back there.
 */
async function placeOf(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<"here" | "kept" | "elsewhere"> {
  if (streamType(streamId) !== "media") throw notMovable(streamId, "not_media");
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectMovable), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [ephemeral, location, events, isKept] = row;
  if (ephemeral) throw ephemeralStream(streamId);
  if (location !== "D") return "elsewhere";
  // The block that the events wait for could not be written any more.
  if (events > 0n) throw notMovable(streamId, "minipool_not_empty");
  return isKept ? "kept" : "here";
}

async function look(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<Movable[]> {
  const [{ rows }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectVersions),
      streamId,
      BigInt(maxBlocks + 1),
    )],
  );
  if (rows.length === 0) {
    // If the stream was deleted since, this throws NOT_FOUND, and the stream is
    // not at fault.
    await placeOf(store, { name, streamId, signal });
    throw noMiniblocks("FAILED_PRECONDITION", streamId);
  }
  if (rows.length > maxBlocks) throw notMovable(streamId, "too_many_blocks");
  let start = 0n;
  return rows.map(([number, size, version]) => {
    if (size === 0n) throw corruptStream(streamId, number);
    const place = { number, start, size, version };
    start += size;
    return { ...place, sha256: null, snapshot: null, holdsSnapshot: false };
  });
}

/** Refuses a stream that a client may still be writing, block by block. */
async function checkSealed(
  store: Store,
  { name, streamId, signal }: StreamCall,
  blocks: readonly Movable[],
): Promise<void> {
  const [{ rows: [genesis] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectMiniblock), streamId, 0n)],
  );
  try {
    checkSealable(streamId, genesis?.[0], blocks.map(({ number }) => number));
  } catch {
    throw notMovable(streamId, "not_sealed");
  }
}

/** Yields the blocks' data, one after another, and notes their facts. */
async function* readBlocks(
  store: Store,
  { name, streamId, signal }: StreamCall,
  blocks: readonly Movable[],
): AsyncGenerator<Uint8Array> {
  for (const page of pagesOf(blocks)) {
    const [{ rows }] = await store.transactions.read(
      { name, tags: streamId, signal },
      [bind(
        store.catalog.of(streamId, selectHashed),
        streamId,
        page[0]!.number,
        page.at(-1)!.number,
      )],
    );
    if (rows.length !== page.length) throw streamChanged(streamId);
    for (const [i, [number, data, sha256, version]] of rows.entries()) {
      const block = page[i]!;
      const isAsSeen = number === block.number && version === block.version &&
        BigInt(data.length) === block.size;
      if (!isAsSeen || !isSame(hashOf(data), sha256)) {
        throw streamChanged(streamId);
      }
      block.sha256 = sha256;
      block.holdsSnapshot = hasLegacySnapshot(data);
      yield data;
    }
  }
}

/** Cuts blocks into pages, each of at least one block. */
export function* pagesOf<P extends ExternalPlace>(
  blocks: readonly P[],
): Generator<P[]> {
  let page: P[] = [];
  let bytes = 0n;
  for (const block of blocks) {
    if (page.length > 0 && bytes + block.size > pageBytes) {
      yield page;
      page = [];
      bytes = 0n;
    }
    page.push(block);
    bytes += block.size;
  }
  if (page.length > 0) yield page;
}

async function upload(
  store: Store,
  call: StreamCall,
  media: Media,
  { blocks, size, change }: {
    blocks: readonly Movable[];
    size: number;
    change: ObjectChange;
  },
): Promise<void> {
  const pieces = readBlocks(store, call, blocks);
  await media.objects.putObject(media.nameOf(call.streamId), size, pieces, {
    begin: change.beginUpload,
    onLost: change.onLost,
    signal: call.signal,
  });
}

/** Reads the whole object back: the store's word alone deletes nothing. */
async function verify(
  media: Media,
  call: StreamCall,
  blocks: readonly Movable[],
  size: number,
): Promise<void> {
  const name = media.nameOf(call.streamId);
  const found = await media.objects.headObject(name, { signal: call.signal });
  if (found?.size !== size) throw wrongBytes(call.streamId, blocks[0]!.number);
  for (const page of pagesOf(blocks)) await fetchRun(media, call, page, true);
}

/**
 * Removes the object of a move that has failed, by the way of every deletion:
 * another instance may own the schema by now, and may have verified and
 * committed this very object. The offloader later settles what this leaves.
 */
async function cleanUp(
  store: Store,
  call: StreamCall,
  media: Media,
  { change, error }: { change: ObjectChange; error: unknown },
): Promise<void> {
  if (!change.isBegun) return;
  // The commit may have been done; the offloader finds out.
  if (isStreamStorageError(error) && error.outcome === "unknown") return;
  // A worker that has to stop does not wait for a bucket, which may not answer.
  if (call.signal?.aborted) return;
  const late = AbortSignal.timeout(cleanUpMs);
  const signal = call.signal ? AbortSignal.any([late, call.signal]) : late;
  await removeObject(store, { ...call, signal }, media)
    .then(() => strikeOut(store, call, change))
    .catch(() => {});
}

const cleanUpMs = 5000;

async function commit(
  store: Store,
  call: StreamCall,
  media: Media,
  { blocks, numbering, change }: {
    blocks: readonly Movable[];
    numbering: number;
    change: ObjectChange;
  },
): Promise<void> {
  const { catalog } = store;
  const { name, streamId, signal } = call;
  signal?.throwIfAborted();
  // After a promotion, numbers of transactions are used again, and another
  // server has numbers of its own. So versions of blocks mean nothing there.
  if (store.server.numbering !== numbering) throw streamChanged(streamId);
  // Without the signal, because a commit in flight is never given up.
  await writeStream(store, { name, streamId }, {
    endsBeliefs: true,
    bound: [
      ...placesInObject(catalog, streamId, blocks),
      bind(catalog.of(streamId, deleteMiniblocks), streamId),
      bind(catalog.of(streamId, updateLocation), streamId, media.location),
      bind(catalog.of(streamId, deleteTask), streamId),
      change.struckOut(),
    ],
    wasDone: async (look) => await findLocation(store, look) === media.location,
  });
}

/** The statements that check the blocks, and write where the object has them. */
function placesInObject(
  catalog: Catalog,
  streamId: StreamId,
  blocks: readonly Movable[],
): Bound[] {
  const numbers = blocks.map(({ number }) => number);
  const sizes = blocks.map(({ size }) => size);
  return [
    bind(
      catalog.of(streamId, checkMovable),
      streamId,
      numbers,
      sizes,
      blocks.map(({ version }) => version),
    ),
    bind(catalog.of(streamId, deleteExternal), streamId),
    bind(catalog.of(streamId, deleteMediaBlocks), streamId),
    bind(
      catalog.of(streamId, insertExternal),
      streamId,
      numbers,
      blocks.map(({ start }) => start),
      sizes,
    ),
    bind(
      catalog.of(streamId, insertMediaBlocks),
      streamId,
      numbers,
      blocks.map(({ sha256 }) => sha256),
      blocks.map(({ holdsSnapshot }) => holdsSnapshot ? 1n : 0n),
    ),
  ];
}

function notMovable(streamId: StreamId, reason: string): StreamStorageError {
  return fault(
    "FAILED_PRECONDITION",
    reason,
    `Stream ${streamId} can't be moved to object storage: ` +
      reason.replaceAll("_", " "),
    { streamId },
  );
}
