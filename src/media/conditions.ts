/**
 * The headers that make a change of an object conditional, so that a copy of
 * the request that is executed late is refused.
 *
 * - GCS numbers the objects of a name and never reuses a number. A request for
 *   the object with a certain number, or for a name without an object (0),
 *   can't touch an object that was written since. Uploads in parts take no
 *   condition: they are given up by their id instead.
 * - S3 identifies objects by their etag, and equal bytes have equal etags. Its
 *   conditions stop most late requests, but not all, and many servers ignore
 *   them or refuse them (`NotImplemented`). A late request's date bounds what
 *   it can do: see postgres/operations/media_objects.ts.
 */

import type { ObjectStoreProvider, StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";

/** Headers of a request. */
export type Condition = Readonly<Record<string, string>>;

/** Requires that there is no object of this name. */
export function ifAbsent(
  provider: ObjectStoreProvider,
  { inParts }: { inParts: boolean },
): Condition {
  if (provider === "s3") return { "if-none-match": "*" };
  return inParts ? {} : { "x-goog-if-generation-match": "0" };
}

/** Requires that this very object is still there. */
export function ifStill(
  provider: ObjectStoreProvider,
  { etag, generation }: StoredObject,
): Condition {
  if (provider === "s3") {
    // A weak etag, from a proxy, matches no condition.
    return /^[\x21-\x7e]+$/.test(etag) && !etag.startsWith("W/")
      ? { "if-match": `"${etag}"` }
      : {};
  }
  if (generation !== undefined && /^\d+$/.test(generation)) {
    return { "x-goog-if-generation-match": generation };
  }
  throw new ReplyFault({ reason: "no_generation", retryable: false });
}
