import { bind, type Bound } from "../../database/statement.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Catalog } from "../catalog.ts";
import type { Media } from "../media.ts";
import { postponeChanges, selectDueChanges } from "../sql/media_changes.ts";
import { deleteTaskOf, keepStream } from "../sql/media_tasks.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";
import { ObjectChange } from "./object_changes.ts";

/** Milliseconds that a caller waits for an object's deletion. */
const patienceMs = 5000;

/** Milliseconds until an object that is not settled is looked at again. */
const settleAgainMs = 3_600_000n;

/**
 * Deletes the object of a stream whose rows are deleted or back in the
 * database. A task for it is put already, so what fails here the offloader does
 * later.
 */
export async function deleteObjectSoon(
  store: Store,
  call: StreamCall,
): Promise<void> {
  const { media } = store;
  if (media === undefined) return;
  const late = AbortSignal.timeout(patienceMs);
  const signal = call.signal ? AbortSignal.any([late, call.signal]) : late;
  try {
    await deleteObject(store, { ...call, signal }, media);
  } catch (error) {
    if (!isStreamStorageError(error) && error !== signal.reason) throw error;
    store.notices.mediaTask();
  }
}

/**
 * Deletes the object of a stream that has no blocks in it, and removes the
 * task. The stream may have been created and moved anew since the task was put,
 * so this looks, in the object's turn, whether the stream uses the object.
 */
export async function deleteObject(
  store: Store,
  call: StreamCall,
  media: Media,
): Promise<void> {
  const remove = () => removeObject(store, call, media);
  await media.turn(call.streamId, remove, call.signal);
}

/**
 * {@linkcode deleteObject} in a turn that the caller has, and only if the
 * object has this etag. Returns whether there was an object and it is deleted.
 */
export async function removeObject(
  store: Store,
  call: StreamCall,
  media: Media,
  etag?: string,
): Promise<boolean> {
  const { catalog } = store;
  const { name, streamId } = call;
  const context = { name, tags: streamId };
  const change = new ObjectChange(store, call, media);
  const isAny = etag === undefined;
  try {
    const isUnused = await change.deleteUnused((now) => isAny || now === etag);
    await writeOwnRows(store, context, [
      ...(isAny ? taskDone(catalog, streamId, isUnused) : []),
      change.struckOut(),
    ]);
    return change.hasDeleted;
  } catch (error) {
    // After a refusal, which is an answer, the name need not rest.
    await strikeOut(store, call, change);
    throw error;
  }
}

/** The object is deleted, or in use again, because a node moved the stream. */
function taskDone(
  catalog: Catalog,
  streamId: StreamId,
  isUnused: boolean,
): Bound[] {
  return [
    ...(isUnused ? [bind(catalog.of(streamId, keepStream), streamId)] : []),
    bind(catalog.of(streamId, deleteTaskOf), streamId, "delete"),
  ];
}

/** Removes the row of a change that has failed, or leaves it for later. */
export async function strikeOut(
  store: Store,
  { name, streamId }: StreamCall,
  change: ObjectChange,
): Promise<void> {
  if (!change.isBegun) return;
  const context = { name, tags: streamId };
  await writeOwnRows(store, context, [change.struckOut()]).catch(() => {});
}

/** Streams with due changes of their objects; see object_changes.ts. */
export async function listUnsettled(
  store: Store,
  limit: number,
  { name, signal }: { name: string; signal: AbortSignal },
): Promise<StreamId[]> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectDueChanges), BigInt(limit)),
  ]);
  return [...new Set(rows.map(([id]) => id as StreamId))];
}

/**
 * Removes what a lost request, or a process that died, has left in the bucket.
 * Removes the request's row once the request can't be executed any more.
 */
export async function settleObject(
  store: Store,
  call: StreamCall,
  media: Media,
): Promise<void> {
  const { name, streamId } = call;
  const postpone = store.catalog.of(streamId, postponeChanges);
  await writeOwnRows(store, { name, tags: streamId }, [
    bind(postpone, streamId, settleAgainMs),
  ]);
  await deleteObject(store, call, media);
}
