import { bind } from "../../database/statement.ts";
import { isStreamStorageError } from "../../storage/errors.ts";
import type { Media } from "../media.ts";
import { deleteDoneTask, keepStream } from "../sql/media_tasks.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";
import { findLocation } from "./external_blocks.ts";

/** Milliseconds that a caller waits for an object to go. */
const patienceMs = 5000;

/**
 * Deletes the object of a stream whose rows are gone or back in the database.
 * It is written down as a task: what fails here the offloader does later.
 */
export async function deleteObjectSoon(
  store: Store,
  call: StreamCall,
): Promise<void> {
  const { media } = store;
  if (media === undefined) return;
  const signal = AbortSignal.timeout(patienceMs);
  try {
    await deleteObject(store, { ...call, signal }, media);
  } catch (error) {
    if (!isStreamStorageError(error) && error !== signal.reason) throw error;
    media.wake();
  }
}

/**
 * Deletes the object of a stream that has none of its blocks there, and marks
 * the task as done. Whether that is so is looked up in the object's turn: the
 * stream may have been made and moved anew since the task was written.
 */
export async function deleteObject(
  store: Store,
  call: StreamCall,
  media: Media,
): Promise<void> {
  const { catalog } = store;
  const { name, streamId, signal } = call;
  await media.turn(streamId, async () => {
    // Only the owner may: another instance could be using the object.
    await writeOwnRows(store, { name, tags: streamId }, []);
    if (await findLocation(store, call) === media.location) return;
    await media.objects.deleteObject(media.nameOf(streamId), { signal });
    await writeOwnRows(store, { name, tags: streamId }, [
      bind(catalog.of(streamId, keepStream), streamId),
      bind(catalog.of(streamId, deleteDoneTask), streamId),
    ]);
  });
}
