import type {
  OffloadMediaOptions,
  ReconcileMediaOptions,
  StreamMaintenance,
} from "../postgres/maintenance.ts";
import type { Media } from "../postgres/media.ts";
import { reconcileMedia } from "../postgres/operations/reconcile_media.ts";
import { rehydrateStream } from "../postgres/operations/rehydrate.ts";
import type { Store } from "../postgres/store.ts";
import {
  checkOffloadMedia,
  checkReconcileMedia,
  checkStreamId,
} from "../storage/arguments.ts";
import { mediaStorageNotConfigured } from "../storage/contract_errors.ts";
import type { OperationOptions } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Calls } from "./calls.ts";
import type { MediaOffloader } from "./media_offloader.ts";
import type { WorkerLoop } from "./worker_loop.ts";

const defaultMinAgeMs = 3_600_000;

/** The maintenance of media streams that callers can request. */
export function mediaMaintenance(
  store: Store,
  calls: Calls,
  offloader: { worker: MediaOffloader; loop: WorkerLoop } | undefined,
): Pick<
  StreamMaintenance,
  "offloadMedia" | "rehydrateMedia" | "reconcileMedia"
> {
  return {
    offloadMedia: (options: OffloadMediaOptions = {}) =>
      calls.call("offloadMedia", options, (signal) => {
        checkOffloadMedia(options);
        if (offloader === undefined) {
          throw mediaStorageNotConfigured("s3 or gcs");
        }
        const { worker, loop } = offloader;
        const { streamId } = options;
        return streamId === undefined
          ? loop.run(signal, (signal) => worker.offload(signal))
          : worker.offloadOne(streamId, signal);
      }),
    rehydrateMedia: (streamId: StreamId, options?: OperationOptions) =>
      calls.call("rehydrateMedia", options, async (signal) => {
        checkStreamId(streamId);
        const call = { name: "rehydrateMedia", streamId, signal };
        const moved = await rehydrateStream(store, call);
        return {
          rehydrated: moved !== undefined,
          blocks: moved?.blocks ?? 0,
          bytes: moved?.bytes ?? 0,
        };
      }),
    reconcileMedia: (options: ReconcileMediaOptions = {}) =>
      calls.call("reconcileMedia", options, (signal) => {
        checkReconcileMedia(options);
        const { dryRun = false, minAgeMs = defaultMinAgeMs } = options;
        const { maxDeleted } = options;
        const bounds = { dryRun, minAgeMs, maxDeleted, signal };
        return reconcileMedia(store, mediaOf(store), bounds);
      }),
  };
}

function mediaOf({ media }: Store): Media {
  if (media === undefined) throw mediaStorageNotConfigured("s3 or gcs");
  return media;
}
