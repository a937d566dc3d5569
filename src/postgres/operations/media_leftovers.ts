/**
 * Where a media stream is, and what a rehydration that was broken off has left:
 * blocks in the database, of a stream whose location says that its blocks are
 * in object storage. Nothing reads such blocks. With its first row, a
 * rehydration puts the task to offload the stream. The transaction that
 * completes the rehydration replaces that task. If the task stays, it leads the
 * offloader to these blocks.
 */

import { bind } from "../../database/statement.ts";
import type { StoredObject } from "../../media/object_store.ts";
import type { Media } from "../media.ts";
import { checkLocation, selectWhereabouts } from "../sql/external.ts";
import { deleteTaskOf } from "../sql/media_tasks.ts";
import { deleteMiniblocks } from "../sql/miniblocks.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { wrongBytes } from "./external_blocks.ts";

/** Where the blocks of a stream are. */
export interface Whereabouts {
  /** The version of the stream's row; every move writes that row anew. */
  version: bigint;
  location: string;
  /** Where the stream's object must end; undefined without an object. */
  end: bigint | undefined;
  /** Whether blocks are in the database. */
  isHere: boolean;
}

/** Looks where a stream is; undefined for an unknown stream. */
export async function findWhereabouts(
  store: Store,
  call: StreamCall,
): Promise<Whereabouts | undefined> {
  const { streamId } = call;
  const [{ rows: [row] }] = await store.transactions.read(contextOf(call), [
    bind(store.catalog.of(streamId, selectWhereabouts), streamId),
  ]);
  if (row === undefined) return undefined;
  const [version, location, end, isHere] = row;
  return { version, location, end: end ?? undefined, isHere };
}

/** Whether the object has the size of the stream's blocks. */
export function isWhole(
  { end }: Whereabouts,
  object: StoredObject | undefined,
): boolean {
  return object !== undefined && end === BigInt(object.size);
}

/**
 * Removes the leftovers of a stream, in its turn, unless its object is
 * incomplete: then they may be the only copy of some blocks.
 */
export async function removeLeftovers(
  store: Store,
  call: StreamCall,
  media: Media,
): Promise<void> {
  const { catalog } = store;
  const { name, streamId, signal } = call;
  const found = await findWhereabouts(store, call);
  if (found?.location !== media.location || !found.isHere) return;
  const object = await media.objects.headObject(media.nameOf(streamId), {
    signal,
  });
  if (!isWhole(found, object)) throw wrongBytes(streamId, 0n);
  await writeStream(store, { name, streamId }, {
    bound: [
      bind(catalog.of(streamId, checkLocation), streamId, media.location),
      bind(catalog.of(streamId, deleteMiniblocks), streamId),
      bind(catalog.of(streamId, deleteTaskOf), streamId, "offload"),
    ],
  });
}
