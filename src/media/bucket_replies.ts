/** Reading a bucket's replies. Whatever is not as it must be is refused. */

import { Buffer } from "node:buffer";
import { type HttpReply, statusFault } from "./http_client.ts";
import type { ListingPage } from "./listing.ts";
import type { ObjectLook, StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";
import { parseXml, type XmlElement, xmlElements, xmlText } from "./xml.ts";

/** Names are no longer, in both stores. */
const maxNameBytes = 1024;
/** Etags, tokens and ids of uploads. */
const maxWordChars = 4096;

/** A page of a listing, and where the next one begins. */
export function readPage(reply: HttpReply): ListingPage {
  const root = documentOf(reply, "ListBucketResult");
  const objects = xmlElements(root, "Contents").map((content) => {
    const name = xmlText(content, "Key");
    if (!name || name.length > maxNameBytes) {
      throw wrongReply("malformed_list", reply.status);
    }
    return storedObject(name, {
      size: xmlText(content, "Size"),
      etag: xmlText(content, "ETag"),
      modified: xmlText(content, "LastModified"),
    });
  });
  if (xmlText(root, "IsTruncated") !== "true") {
    return { objects, next: undefined };
  }
  const next = wordOf(xmlText(root, "NextContinuationToken"));
  if (next === undefined) throw wrongReply("malformed_list", reply.status);
  return { objects, next };
}

/** The id of an upload that has begun. */
export function readUploadId(reply: HttpReply): string {
  const root = documentOf(reply, "InitiateMultipartUploadResult");
  const uploadId = wordOf(xmlText(root, "UploadId"));
  if (uploadId !== undefined) return uploadId;
  throw wrongReply("no_upload_id", reply.status);
}

/** The etag of what was written. */
export function readEtag({ headers, status }: HttpReply): string {
  const etag = wordOf(headers.get("etag"));
  if (etag !== undefined) return etag;
  throw wrongReply("no_etag", status);
}

/** The root of a reply's document, which must have this name. */
function documentOf({ body, status }: HttpReply, name: string): XmlElement {
  const root = parseXml(body);
  if (root.name === name) return root;
  throw wrongReply("wrong_document", status);
}

/** A word of the store's that is sent back to it. */
function wordOf(text: string | null | undefined): string | undefined {
  return text && text.length <= maxWordChars ? text : undefined;
}

/** What is at a name, and the store's time; undefined: perhaps nothing. */
export function readLook(
  name: string,
  reply: HttpReply,
): ObjectLook | undefined {
  if (reply.status === 404) return undefined;
  expectStatus(reply, 200);
  return lookOf(name, reply, reply.headers.get("content-length"));
}

/**
 * The same of the answer to a request for the first byte. Such an answer has a
 * body, which says whether it is the store's: any proxy answers 404.
 */
export function readCloserLook(name: string, reply: HttpReply): ObjectLook {
  const { headers, status } = reply;
  if (status >= 300) {
    const fault = statusFault(reply);
    if (!fault.isMissingObject) throw fault;
    return { object: undefined, at: timeOf(reply) };
  }
  expectStatus(reply, 206);
  const [, size] = (headers.get("content-range") ?? "").split("/");
  return lookOf(name, reply, size);
}

function lookOf(
  name: string,
  reply: HttpReply,
  size: string | null | undefined,
): ObjectLook {
  const { headers } = reply;
  const object = storedObject(name, {
    size,
    etag: headers.get("etag"),
    modified: headers.get("last-modified"),
    generation: headers.get("x-goog-generation"),
  });
  return { object, at: timeOf(reply) };
}

function timeOf({ headers, status }: HttpReply): Date {
  const date = headers.get("date");
  const at = date === null ? new Date() : dateOf(date);
  if (at === undefined) throw wrongReply("malformed_date", status);
  return at;
}

/** Believes that something was deleted, or that it was not there. */
export function checkDeleted(reply: HttpReply, missing: string): void {
  const { status, body } = reply;
  // Neither store has more to say; an error may come with a good status.
  if (status === 204 || (status === 200 && body.length === 0)) return;
  const fault = statusFault(status < 300 ? { ...reply, status: 500 } : reply);
  if (fault.init.reason !== missing) throw fault;
}

/** What is told of an object, if it is complete. */
function storedObject(
  name: string,
  facts:
    & Record<"size" | "etag" | "modified", string | null | undefined>
    & { generation?: string | null },
): StoredObject {
  const size = /^\d{1,16}$/.test(facts.size ?? "") ? Number(facts.size) : NaN;
  const modifiedAt = dateOf(facts.modified ?? "");
  const etag = facts.etag ?? "";
  if (
    !Number.isSafeInteger(size) || modifiedAt === undefined ||
    etag.length > maxWordChars
  ) throw wrongReply("malformed_facts", 200);
  return {
    name: ownText(name),
    size,
    etag: ownText(etag.replaceAll('"', "")),
    modifiedAt,
    generation: facts.generation ?? undefined,
  };
}

/** Else who keeps a name keeps the whole page that it was cut from. */
function ownText(text: string): string {
  return Buffer.from(text).toString();
}

/** A date as the stores write them, of a year that the database knows, too. */
function dateOf(text: string): Date | undefined {
  const date = new Date(text.length <= 64 ? text : "");
  const year = date.getUTCFullYear();
  return year >= 1970 && year <= 9999 ? date : undefined;
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
  const contentRange = headers.get("content-range") ?? "";
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange);
  if (range === null || Number(range[1]) !== start) {
    throw wrongReply("wrong_range", status);
  }
  // At the end of an object that is too short the range is cut.
  if (Number(range[2]) === last) return;
  throw range[3] !== "*" && Number(range[3]) <= last
    ? rangeMissing(status)
    : wrongReply("wrong_range", status);
}
