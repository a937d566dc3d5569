/**
 * The headers that make a change of an object conditional, so that a copy of
 * the request which is executed late is refused.
 *
 * - GCS numbers the objects of a name and never gives a number twice. A request
 *   for the object with a certain number, or for a name without an object (0),
 *   can't touch an object that was written since. Uploads in parts take no
 *   condition: they are given up by their id instead.
 * - S3 knows objects by their etag, and the same bytes have the same one. Its
 *   conditions keep off most late requests, but not all, and many servers
 *   ignore them or refuse them (`NotImplemented`). What late requests can do is
 *   bounded by their date: see postgres/operations/media_objects.ts.
 */

import type { ObjectStoreProvider, StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";

/** Headers of a request. */
export type Condition = Readonly<Record<string, string>>;

/** There is no object of this name. */
export function ifAbsent(
  provider: ObjectStoreProvider,
  { inParts }: { inParts: boolean },
): Condition {
  if (provider === "s3") return { "if-none-match": "*" };
  return inParts ? {} : { "x-goog-if-generation-match": "0" };
}

/** There still is this very object. */
export function ifStill(
  provider: ObjectStoreProvider,
  { etag, generation }: StoredObject,
): Condition {
  if (provider === "s3") {
    // A weak one, of a proxy, equals none.
    return /^[\x21-\x7e]+$/.test(etag) && !etag.startsWith("W/")
      ? { "if-match": `"${etag}"` }
      : {};
  }
  if (generation !== undefined && /^\d+$/.test(generation)) {
    return { "x-goog-if-generation-match": generation };
  }
  throw new ReplyFault({ reason: "no_generation", retryable: false });
}
