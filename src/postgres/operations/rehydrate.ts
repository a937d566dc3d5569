/**
 * Brings a media stream back into the database, page by page, each page in a
 * transaction of its own. Until the last of them, the stream's location says
 * that its blocks are in object storage, so no read sees the blocks that are
 * back. What a failure leaves of them is removed at once if possible. What a
 * crash leaves is removed by the next attempt or by the offloader; see
 * media_leftovers.ts.
 */

import { bind, type Bound } from "../../database/statement.ts";
import { type Media, mediaAt } from "../media.ts";
import {
  checkLocation,
  deleteExternal,
  deleteMediaBlocks,
  updateLocation,
} from "../sql/external.ts";
import { putTask, putTaskLater } from "../sql/media_tasks.ts";
import { deleteMiniblocksIn } from "../sql/miniblocks.ts";
import { checkBack } from "../sql/offloading.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import {
  type ExternalPlace,
  fetchRun,
  findLocation,
  moved,
  readPlaces,
  runsOf,
} from "./external_blocks.ts";
import { removeLeftovers } from "./media_leftovers.ts";
import { deleteObjectSoon } from "./media_objects.ts";
import { type Moved, pagesOf } from "./offload.ts";
import { miniblockRows } from "./write_miniblocks.ts";

/** Brings a stream back; undefined if it is in the database already. */
export async function rehydrateStream(
  store: Store,
  call: StreamCall,
): Promise<Moved | undefined> {
  const { media } = store;
  // Looks in the stream's turn, so that of several calls only the first brings
  // it back.
  const back = () => bringBack(store, call);
  const result =
    await (media ? media.turn(call.streamId, back, call.signal) : back());
  if (result !== undefined) await deleteObjectSoon(store, call);
  return result;
}

async function bringBack(
  store: Store,
  call: StreamCall,
): Promise<Moved | undefined> {
  const everything = { first: 0n, last: 2n ** 63n - 1n, omitSnapshot: false };
  const found = await readPlaces(store, call, everything);
  if (found === moved) return undefined;
  const { location, places } = found;
  const media = mediaAt(store, location, call.streamId);
  await begin(store, call, media);
  try {
    for (const page of pagesOf(places)) {
      for (const run of runsOf(page)) await restore(store, call, media, run);
    }
    await settle(store, call, location);
  } catch (error) {
    const signal = AbortSignal.timeout(cleanUpMs);
    await removeLeftovers(store, { ...call, signal }, media).catch(() => {});
    throw error;
  }
  return {
    blocks: places.length,
    bytes: places.reduce((bytes, { size }) => bytes + Number(size), 0),
  };
}

const cleanUpMs = 5000;

/**
 * Milliseconds until the offloader looks for leftovers. Longer than most
 * streams take to bring back; an earlier look does no harm.
 */
const looksAfterMs = 600_000n;

/** Removes earlier leftovers, and puts the task by which new ones are found. */
async function begin(
  store: Store,
  call: StreamCall,
  media: Media,
): Promise<void> {
  await removeLeftovers(store, call, media);
  const { streamId } = call;
  const put = store.catalog.of(streamId, putTaskLater);
  await write(store, call, media.location, [
    bind(put, streamId, "offload", looksAfterMs),
  ]);
}

async function restore(
  store: Store,
  call: StreamCall,
  media: Media,
  run: readonly ExternalPlace[],
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const rows = await fetchRun(media, call, run, true);
  const blocks = rows.map(({ number, data, snapshot }) => ({
    number,
    data,
    ...(snapshot ? { snapshot } : {}),
  }));
  const [first, last] = [blocks[0]!.number, blocks.at(-1)!.number];
  await write(store, call, media.location, [
    // Deletes first, because an attempt with a lost answer may have inserted
    // them.
    bind(
      catalog.of(streamId, deleteMiniblocksIn),
      streamId,
      first,
      last + 1n,
    ),
    ...await miniblockRows(catalog, call, blocks),
  ]);
}

/** Switches to the rows in the database; puts the task to delete the object. */
async function settle(
  store: Store,
  call: StreamCall,
  location: string,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  await write(store, call, location, [
    bind(catalog.of(streamId, checkBack), streamId),
    bind(catalog.of(streamId, deleteExternal), streamId),
    bind(catalog.of(streamId, deleteMediaBlocks), streamId),
    bind(catalog.of(streamId, updateLocation), streamId, "D"),
    bind(catalog.of(streamId, putTask), streamId, "delete"),
  ]);
}

async function write(
  store: Store,
  call: StreamCall,
  location: string,
  bound: Bound[],
): Promise<void> {
  const { name, streamId, signal } = call;
  signal?.throwIfAborted();
  const check = store.catalog.of(streamId, checkLocation);
  await writeStream(store, { name, streamId }, {
    endsBeliefs: true,
    bound: [bind(check, streamId, location), ...bound],
    wasDone: async (look) => await findLocation(store, look) === "D",
  });
}
