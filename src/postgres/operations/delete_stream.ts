import { bind, type Bound } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import { streamType } from "../../storage/stream_id.ts";
import { mediaAt } from "../media.ts";
import { deleteExternal, deleteMediaBlocks } from "../sql/external.ts";
import { putTask, turnIntoDeletion } from "../sql/media_tasks.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeStream } from "../write_path/stream_write.ts";
import { findLocation } from "./external_blocks.ts";
import { removeRest, restAfter, streamGone } from "./leftovers.ts";
import { deleteObjectSoon } from "./media_objects.ts";
import { isGone } from "./recognise.ts";

/**
 * See {@linkcode StreamStorage.deleteStream}.
 *
 * Removes a stream, then its object if it has one. Some of its rows other than
 * the one in `es` may be removed later; see leftovers.ts.
 */
export async function deleteStream(
  store: Store,
  call: StreamCall,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = call;
  const rows = streamGone(catalog, streamId);
  const isMedia = streamType(streamId) === "media";
  let hasObject = false;
  let isRest = false;
  // Writes submitted after this one must not count what earlier ones have
  // added.
  store.quotas?.forget(streamId);
  await writeStream(store, call, {
    endsBeliefs: true,
    bound: !isMedia ? rows : async () => {
      const location = await findLocation(store, call) ?? "D";
      hasObject = location !== "D";
      if (hasObject) mediaAt(store, location, streamId);
      return [...mediaGone(store, call, hasObject), ...rows];
    },
    settle: (results) => {
      isRest = restAfter(results);
    },
    refused: () => streamNotFound(streamId),
    wasDone: (look) => isGone(store, look),
  });
  if (isRest) await removeRest(store, call);
  if (hasObject) await deleteObjectSoon(store, call);
}

/**
 * Removes the rows that only media streams have. The rows that place the blocks
 * in the object were written in one transaction, so they are few enough to be
 * removed in one. The task to delete the object is put in that transaction too,
 * so that a crash does not leave the object behind.
 */
function mediaGone(
  { catalog }: Store,
  { streamId }: StreamCall,
  hasObject: boolean,
): Bound[] {
  return [
    bind(catalog.of(streamId, deleteExternal), streamId),
    bind(catalog.of(streamId, deleteMediaBlocks), streamId),
    hasObject
      ? bind(catalog.of(streamId, putTask), streamId, "delete")
      : bind(catalog.of(streamId, turnIntoDeletion), streamId),
  ];
}
