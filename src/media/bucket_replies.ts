/** Reading a bucket's replies. Whatever is not as it must be is refused. */

import { type HttpReply, statusFault } from "./http_client.ts";
import type { ObjectLook, StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";
import { xmlElements, xmlText } from "./xml.ts";

/** A page of a listing, and where the next one begins. */
export function readPage(
  xml: string,
): { objects: StoredObject[]; next: string | undefined } {
  if (!/<ListBucketResult[\s>/]/.test(xml)) {
    throw wrongReply("malformed_list", 200);
  }
  const objects = xmlElements(xml, "Contents").map((content) => {
    const name = xmlText(content, "Key");
    if (!name) throw wrongReply("malformed_list", 200);
    return storedObject(name, {
      size: xmlText(content, "Size"),
      etag: xmlText(content, "ETag"),
      modified: xmlText(content, "LastModified"),
    });
  });
  const next = xmlText(xml, "NextContinuationToken");
  if (xmlText(xml, "IsTruncated") !== "true") {
    return { objects, next: undefined };
  }
  if (!next) throw wrongReply("malformed_list", 200);
  return { objects, next };
}

/** What is at a name, and the store's time. */
export function readLook(name: string, reply: HttpReply): ObjectLook {
  const { headers, status } = reply;
  const at = new Date(headers.get("date") ?? Date.now());
  if (Number.isNaN(at.getTime())) throw wrongReply("malformed_date", status);
  if (status === 404) return { object: undefined, at };
  expectStatus(reply, 200);
  const object = storedObject(name, {
    size: headers.get("content-length"),
    etag: headers.get("etag"),
    modified: headers.get("last-modified"),
    generation: headers.get("x-goog-generation"),
  });
  return { object, at };
}

/** What is told of an object, if it is complete. */
function storedObject(
  name: string,
  told:
    & Record<"size" | "etag" | "modified", string | null | undefined>
    & { generation?: string | null },
): StoredObject {
  const modifiedAt = new Date(told.modified ?? "");
  if (!/^\d+$/.test(told.size ?? "") || Number.isNaN(modifiedAt.getTime())) {
    throw wrongReply("malformed_facts", 200);
  }
  return {
    name,
    size: Number(told.size),
    etag: (told.etag ?? "").replaceAll('"', ""),
    modifiedAt,
    generation: told.generation ?? undefined,
  };
}

/** A reply's body as text. */
export function textOf({ body }: HttpReply): string {
  return new TextDecoder().decode(body);
}

/** Refuses a reply with another status. */
export function expectStatus(reply: HttpReply, status: number): void {
  if (reply.status === status) return;
  throw reply.status < 300
    ? wrongReply("unexpected_status", reply.status)
    : statusFault(reply);
}

/** A reply that no store should give; the next one may be better. */
export function wrongReply(reason: string, status: number): ReplyFault {
  return new ReplyFault({ reason, retryable: true, status });
}

/** The object ends before the range does. */
export function rangeMissing(status: number): ReplyFault {
  return new ReplyFault({
    reason: "object_too_short",
    retryable: false,
    status,
  });
}

/** Refuses the head of a reply that does not bring the bytes asked for. */
export function checkRange(
  start: number,
  last: number,
  { status, headers }: Pick<HttpReply, "status" | "headers">,
): void {
  if (status >= 300) return; // read on, for the store's own word
  if (status !== 206) throw wrongReply("not_partial", status);
  const told = headers.get("content-range") ?? "";
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(told);
  if (range === null || Number(range[1]) !== start) {
    throw wrongReply("wrong_range", status);
  }
  // At the end of an object that is too short the range is cut.
  if (Number(range[2]) === last) return;
  throw range[3] !== "*" && Number(range[3]) <= last
    ? rangeMissing(status)
    : wrongReply("wrong_range", status);
}
