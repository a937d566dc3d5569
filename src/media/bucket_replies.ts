/** Reads a bucket's replies and refuses every one that is not as it must be. */

import { Buffer } from "node:buffer";
import { type HttpReply, statusFault } from "./http_client.ts";
import type { ListingPage } from "./listing.ts";
import type { ObjectLook, StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";
import { parseXml, type XmlElement, xmlElements, xmlText } from "./xml.ts";

/** The longest name that both stores allow. */
const maxNameBytes = 1024;
/** The longest etag, token or id of an upload. */
const maxWordChars = 4096;

/** Reads a page of a listing, and where the next one begins. */
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

/** Reads the id of an upload that has begun. */
export function readUploadId(reply: HttpReply): string {
  const root = documentOf(reply, "InitiateMultipartUploadResult");
  const uploadId = wordOf(xmlText(root, "UploadId"));
  if (uploadId !== undefined) return uploadId;
  throw wrongReply("no_upload_id", reply.status);
}

/** Reads the etag of what was written. */
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

/** A word that the store gave and that is sent back to it. */
function wordOf(text: string | null | undefined): string | undefined {
  return text && text.length <= maxWordChars ? text : undefined;
}

/** Reads the object and the store's time; `undefined`: perhaps no object. */
export function readLook(
  name: string,
  reply: HttpReply,
): ObjectLook | undefined {
  if (reply.status === 404) return undefined;
  expectStatus(reply, 200);
  return lookOf(name, reply, reply.headers.get("content-length"));
}

/**
 * Reads the same from the answer to a request for the first byte. Its body
 * shows whether it is the store's: a proxy may answer 404, too.
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

/** Accepts that something was deleted, or that it did not exist. */
export function checkDeleted(reply: HttpReply, missing: string): void {
  const { status, body } = reply;
  // Neither store sends more; an error may come with a status of success.
  if (status === 204 || (status === 200 && body.length === 0)) return;
  const fault = statusFault(status < 300 ? { ...reply, status: 500 } : reply);
  if (fault.init.reason !== missing) throw fault;
}

/** Builds an object from its headers, if they are complete. */
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

/** Copies text: a kept slice would keep the whole page that it was cut from. */
function ownText(text: string): string {
  return Buffer.from(text).toString();
}

/** A date in the stores' format, of a year that the database supports, too. */
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

/** A reply that no store should send; the next one may be better. */
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

/** Refuses the head of a reply that does not bring the requested bytes. */
export function checkRange(
  start: number,
  last: number,
  { status, headers }: Pick<HttpReply, "status" | "headers">,
): void {
  if (status >= 300) return; // its body holds the store's error code
  if (status !== 206) throw wrongReply("not_partial", status);
  const contentRange = headers.get("content-range") ?? "";
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange);
  if (range === null || Number(range[1]) !== start) {
    throw wrongReply("wrong_range", status);
  }
  // The store shortens a range that reaches beyond the end of its object.
  if (Number(range[2]) === last) return;
  throw range[3] !== "*" && Number(range[3]) <= last
    ? rangeMissing(status)
    : wrongReply("wrong_range", status);
}
