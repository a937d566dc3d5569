import { openGcsBucket } from "../media/gcs.ts";
import type {
  ObjectStore,
  ObjectStoreListener,
} from "../media/object_store.ts";
import { openS3Bucket } from "../media/s3.ts";
import type { ResolvedMediaStorage } from "./media_options.ts";

/** Opens a bucket. */
export type OpenBucket = typeof openBucket;

/** Opens the bucket; sends nothing yet. */
export function openBucket(
  options: ResolvedMediaStorage,
  onCall: ObjectStoreListener,
): ObjectStore {
  return options.provider === "s3"
    ? openS3Bucket(options, { onCall })
    : openGcsBucket(options, { onCall });
}
