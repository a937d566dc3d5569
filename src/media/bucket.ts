/**
 * A bucket over the XML protocol that S3, its many compatible servers and
 * Google Cloud Storage speak alike; they differ in the address and in how a
 * request is signed.
 *
 * No reply is believed: its status, length and range must be those that were
 * asked for. What is written carries its MD5, which the store compares, and
 * for S3 its SHA-256 inside the signature.
 */

import { createHash } from "node:crypto";
import {
  type Authorizer,
  HttpClient,
  type HttpPolicy,
  type HttpReply,
  statusFault,
} from "./http_client.ts";
import type {
  ByteRange,
  ObjectStore,
  ObjectStoreAction,
  ObjectStoreListener,
  ObjectStoreOptions,
  ObjectStoreProvider,
  StoredObject,
} from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";
import { xmlElements, xmlEscape, xmlText } from "./xml.ts";

/** What a {@linkcode Bucket} is made of. */
export interface BucketParts {
  provider: ObjectStoreProvider;
  /** The bucket's own address, without a slash at its end. */
  baseUrl: string;
  authorizer: Authorizer;
  policy: HttpPolicy;
  /** Bytes of one part of a large object. */
  partBytes: number;
  /** Hears of every call. */
  onCall: ObjectStoreListener;
}

/** More parts than this an object can't have. */
const maxParts = 10_000;

/** See the file's head. */
export class Bucket implements ObjectStore {
  readonly provider: ObjectStoreProvider;
  readonly #parts: BucketParts;
  readonly #http: HttpClient;

  constructor(parts: BucketParts) {
    this.provider = parts.provider;
    this.#parts = parts;
    this.#http = new HttpClient(parts.policy, parts.authorizer);
  }

  /** See {@linkcode ObjectStore.putObject}. */
  async putObject(
    name: string,
    size: number,
    pieces: AsyncIterable<Uint8Array>,
    options: ObjectStoreOptions = {},
  ): Promise<void> {
    // A part more would be one too many.
    const partBytes = Math.max(
      this.#parts.partBytes,
      Math.ceil(size / maxParts),
    );
    await this.#naming("write", name, async () => {
      const parts = cut(pieces, size, partBytes);
      if (size > partBytes) return await this.#putParts(name, parts, options);
      for await (const part of parts) await this.#put(name, {}, part, options);
    });
  }

  /** See {@linkcode ObjectStore.headObject}. */
  headObject(
    name: string,
    { signal }: ObjectStoreOptions = {},
  ): Promise<StoredObject | undefined> {
    return this.#naming("look", name, () =>
      this.#http.send(
        { method: "HEAD", url: this.#url(name), signal },
        (reply) => {
          if (reply.status === 404) return undefined;
          expectStatus(reply, 200);
          const { headers } = reply;
          return storedObject(name, {
            size: headers.get("content-length"),
            etag: headers.get("etag"),
            modified: headers.get("last-modified"),
          });
        },
      ));
  }

  /** See {@linkcode ObjectStore.getRange}. */
  getRange(
    name: string,
    { start, size }: ByteRange,
    { signal }: ObjectStoreOptions = {},
  ): Promise<Uint8Array> {
    const last = start + size - 1;
    const checkHead = (status: number, headers: Headers) => {
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
    };
    return this.#naming("read", name, () =>
      this.#http.send({
        method: "GET",
        url: this.#url(name),
        headers: { range: `bytes=${start}-${last}` },
        maxReplyBytes: size,
        checkHead,
        signal,
      }, (reply) => {
        if (reply.status === 416) throw rangeMissing(reply.status);
        expectStatus(reply, 206);
        if (reply.body.length === size) return reply.body;
        throw wrongReply("wrong_length", reply.status);
      }));
  }

  /** See {@linkcode ObjectStore.deleteObject}. */
  async deleteObject(
    name: string,
    { signal }: ObjectStoreOptions = {},
  ): Promise<void> {
    await this.#naming("delete", name, () =>
      this.#http.send(
        { method: "DELETE", url: this.#url(name), signal },
        (reply) => {
          if (reply.status === 200 || reply.status === 204) return;
          const fault = statusFault(reply);
          if (!fault.isMissingObject) throw fault;
        },
      ));
  }

  /** See {@linkcode ObjectStore.listObjects}. */
  async *listObjects(
    prefix: string,
    { signal }: ObjectStoreOptions = {},
  ): AsyncGenerator<StoredObject, void, undefined> {
    let token: string | undefined;
    do {
      const url = this.#url("", {
        "list-type": "2",
        prefix,
        ...(token === undefined ? {} : { "continuation-token": token }),
      });
      const page = await this.#naming(
        "list",
        prefix,
        () =>
          this.#http.send({ method: "GET", url, signal }, (reply) => {
            expectStatus(reply, 200);
            return readPage(textOf(reply));
          }),
      );
      yield* page.objects;
      token = page.next;
    } while (token !== undefined);
  }

  async #putParts(
    name: string,
    parts: AsyncIterable<Uint8Array<ArrayBuffer>>,
    options: ObjectStoreOptions,
  ): Promise<void> {
    const uploadId = await this.#startUpload(name, options);
    try {
      const etags: string[] = [];
      let bytes = 0;
      for await (const part of parts) {
        const partNumber = String(etags.length + 1);
        etags.push(
          await this.#put(name, { partNumber, uploadId }, part, options),
        );
        bytes += part.length;
      }
      await this.#finishUpload(name, uploadId, { etags, bytes }, options);
    } catch (error) {
      await this.#abortUpload(name, uploadId);
      throw error;
    }
  }

  /** Writes a whole object or a part; its etag, as the store gives it. */
  #put(
    name: string,
    query: Record<string, string>,
    body: Uint8Array<ArrayBuffer>,
    { signal }: ObjectStoreOptions,
  ): Promise<string> {
    const md5 = createHash("md5").update(body).digest("base64");
    const headers = {
      "content-md5": md5,
      "content-type": "application/octet-stream",
    };
    const url = this.#url(name, query);
    return this.#http.send(
      { method: "PUT", url, headers, body, signal },
      (reply) => {
        expectStatus(reply, 200);
        const etag = reply.headers.get("etag");
        if (etag) return etag;
        throw wrongReply("no_etag", reply.status);
      },
    );
  }

  #startUpload(
    name: string,
    { signal }: ObjectStoreOptions,
  ): Promise<string> {
    const url = this.#url(name, { uploads: "" });
    const headers = { "content-type": "application/octet-stream" };
    return this.#http.send(
      { method: "POST", url, headers, body: new Uint8Array(), signal },
      (reply) => {
        expectStatus(reply, 200);
        const uploadId = xmlText(textOf(reply), "UploadId");
        if (uploadId) return uploadId;
        throw wrongReply("no_upload_id", reply.status);
      },
    );
  }

  async #finishUpload(
    name: string,
    uploadId: string,
    { etags, bytes }: { etags: readonly string[]; bytes: number },
    { signal }: ObjectStoreOptions,
  ): Promise<void> {
    const parts = etags.map((etag, i) =>
      `<Part><PartNumber>${i + 1}</PartNumber>` +
      `<ETag>${xmlEscape(etag)}</ETag></Part>`
    );
    const body = new TextEncoder().encode(
      `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`,
    );
    const url = this.#url(name, { uploadId });
    const headers = { "content-type": "application/xml" };
    let attempts = 0;
    try {
      await this.#http.send(
        { method: "POST", url, headers, body, signal },
        (reply, attempt) => {
          attempts = attempt;
          if (reply.status !== 200) throw statusFault(reply);
          // The status was sent before the store began; the end tells.
          const text = textOf(reply);
          if (xmlElements(text, "CompleteMultipartUploadResult").length > 0) {
            return;
          }
          throw statusFault({ ...reply, status: 500 });
        },
      );
    } catch (error) {
      // The attempt whose answer was lost may have done it, and then there is
      // no such upload any more.
      const found = attempts > 1
        ? await this.headObject(name, { signal })
        : undefined;
      if (found?.size !== bytes) throw error;
    }
  }

  /** Else its parts are kept, and paid for; the bucket may have a rule too. */
  async #abortUpload(name: string, uploadId: string): Promise<void> {
    const url = this.#url(name, { uploadId });
    const signal = AbortSignal.timeout(this.#parts.policy.stallMs);
    await this.#http.send({ method: "DELETE", url, signal }, () => {}).catch(
      () => {},
    );
  }

  #url(name: string, query: Record<string, string> = {}): URL {
    const url = new URL(this.#parts.baseUrl);
    if (name !== "") {
      const path = name.split("/").map(encodeStrictly).join("/");
      url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}`;
    }
    url.search = Object.entries(query)
      .map(([key, value]) => `${key}=${encodeStrictly(value)}`)
      .join("&");
    return url;
  }

  async #naming<T>(
    action: ObjectStoreAction,
    object: string,
    body: () => Promise<T>,
  ): Promise<T> {
    const { provider, onCall } = this.#parts;
    const since = performance.now();
    let errorType: string | undefined;
    try {
      return await body();
    } catch (error) {
      errorType = "aborted";
      if (!(error instanceof ReplyFault)) throw error;
      errorType = error.init.reason;
      throw error.toStorageError({ provider, action, object });
    } finally {
      const milliseconds = performance.now() - since;
      onCall({ action, milliseconds, errorType });
    }
  }
}

/** Gathers the pieces into parts of one size, in one piece of memory. */
async function* cut(
  pieces: AsyncIterable<Uint8Array>,
  size: number,
  partBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const part = new Uint8Array(Math.min(partBytes, size));
  let filled = 0;
  let left = size;
  for await (const piece of pieces) {
    left -= piece.length;
    if (left < 0) break;
    for (let at = 0; at < piece.length;) {
      const bytes = piece.subarray(at, at + part.length - filled);
      part.set(bytes, filled);
      filled += bytes.length;
      at += bytes.length;
      if (filled < part.length) continue;
      yield part;
      filled = 0;
    }
  }
  if (left !== 0) {
    throw new ReplyFault({ reason: "size_mismatch", retryable: false });
  }
  if (filled > 0) yield part.subarray(0, filled);
}

function readPage(
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

function storedObject(
  name: string,
  told: Record<"size" | "etag" | "modified", string | null | undefined>,
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
  };
}

function textOf({ body }: HttpReply): string {
  return new TextDecoder().decode(body);
}

function expectStatus(reply: HttpReply, status: number): void {
  if (reply.status === status) return;
  throw reply.status < 300
    ? wrongReply("unexpected_status", reply.status)
    : statusFault(reply);
}

/** A reply that no store should give; the next one may be better. */
function wrongReply(reason: string, status: number): ReplyFault {
  return new ReplyFault({ reason, retryable: true, status });
}

/** The object ends before the range does. */
function rangeMissing(status: number): ReplyFault {
  return new ReplyFault({
    reason: "object_too_short",
    retryable: false,
    status,
  });
}

/** As signatures have it: what encodeURIComponent leaves alone, too. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
