import { StreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** Another writer came between a look and what relies on it; none should. */
export function streamChanged(streamId: StreamId): StreamStorageError {
  return new StreamStorageError({
    code: "DB_OPERATION_FAILURE",
    message: `Stream ${streamId} was changed by another writer meanwhile`,
    details: { reason: "stream_changed", streamId },
    retryable: true,
  });
}
