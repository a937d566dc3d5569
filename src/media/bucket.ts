/**
 * A bucket over the XML protocol that S3, its many compatible servers and
 * Google Cloud Storage share. The providers differ in the address and in how a
 * request is signed.
 *
 * No reply is trusted: its status, length and range must match the request. A
 * write carries its MD5, which the store compares, and for S3 its SHA-256
 * inside the signature. conditions.ts says how late copies of a change are
 * refused.
 *
 * The file has more than 400 lines, because every request of the protocol is a
 * method of one class, with one client and one set of rules for replies.
 */

import { createHash } from "node:crypto";
import {
  checkDeleted,
  checkRange,
  expectStatus,
  rangeMissing,
  readCloserLook,
  readEtag,
  readLook,
  readPage,
  readUploadId,
  wrongReply,
} from "./bucket_replies.ts";
import { type Condition, ifAbsent, ifStill } from "./conditions.ts";
import {
  type Authorizer,
  HttpClient,
  type HttpPolicy,
  type HttpReply,
  type HttpRequest,
  statusFault,
} from "./http_client.ts";
import { Listing } from "./listing.ts";
import type {
  ByteRange,
  DeleteObjectOptions,
  ObjectLook,
  ObjectStore,
  ObjectStoreAction,
  ObjectStoreListener,
  ObjectStoreOptions,
  ObjectStoreProvider,
  PutObjectOptions,
  StoredObject,
} from "./object_store.ts";
import { objectUrl } from "./object_url.ts";
import { completionOf, cut } from "./parts.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import { ReplyFault } from "./reply_fault.ts";
import { xmlOf } from "./xml.ts";

/** What a {@linkcode Bucket} is made of. */
export interface BucketParts {
  provider: ObjectStoreProvider;
  /** See {@linkcode ObjectStore.lateMs}. */
  lateMs: number;
  /** The bucket's own address, without a slash at its end. */
  baseUrl: string;
  authorizer: Authorizer;
  policy: HttpPolicy;
  /** The size of one part of a large object. */
  partBytes: number;
  /** Called when a call has ended. */
  onCall: ObjectStoreListener;
}

/** How long a stopped call may still take to give up its upload. */
const partingMs = 1000;

/** The largest number of parts that an object may have. */
const maxParts = 10_000;

/** Implements {@linkcode ObjectStore}; see the head of this file. */
export class Bucket implements ObjectStore {
  readonly provider: ObjectStoreProvider;
  readonly lateMs: number;
  readonly #parts: BucketParts;
  readonly #http: HttpClient;
  /** False once the server has said that it supports no conditions. */
  #knowsConditions = true;

  constructor(parts: BucketParts) {
    this.provider = parts.provider;
    this.lateMs = parts.lateMs;
    this.#parts = parts;
    this.#http = new HttpClient(parts.policy, parts.authorizer);
  }

  /** See {@linkcode ObjectStore.putObject}. */
  async putObject(
    name: string,
    size: number,
    pieces: AsyncIterable<Uint8Array>,
    options: PutObjectOptions = {},
  ): Promise<void> {
    // Larger parts, where the usual size would need too many of them.
    const partBytes = Math.max(
      this.#parts.partBytes,
      Math.ceil(size / maxParts),
    );
    await this.#naming("write", name, async () => {
      const parts = cut(pieces, size, partBytes);
      if (size > partBytes) return await this.#putParts(name, parts, options);
      for await (const part of parts) await this.#putWhole(name, part, options);
    });
  }

  /** See {@linkcode ObjectStore.headObject}. */
  async headObject(
    name: string,
    options: ObjectStoreOptions = {},
  ): Promise<StoredObject | undefined> {
    return (await this.look(name, options)).object;
  }

  /** See {@linkcode ObjectStore.look}. */
  look(
    name: string,
    { signal }: ObjectStoreOptions = {},
  ): Promise<ObjectLook> {
    const url = this.#url(name);
    return this.#naming("look", name, async () =>
      await this.#http.send(
        { method: "HEAD", url, signal },
        (reply) => readLook(name, reply),
      ) ?? await this.#http.send(
        { ...rangeOf(url, { start: 0, size: 1 }), signal },
        (reply) => readCloserLook(name, reply),
      ));
  }

  /** See {@linkcode ObjectStore.getRange}. */
  getRange(
    name: string,
    { start, size }: ByteRange,
    { signal }: ObjectStoreOptions = {},
  ): Promise<Uint8Array> {
    const request = rangeOf(this.#url(name), { start, size });
    return this.#naming(
      "read",
      name,
      () =>
        this.#http.send({ ...request, signal }, (reply) => {
          if (reply.status === 416) throw rangeMissing(reply.status);
          expectStatus(reply, 206);
          if (reply.body.length === size) return reply.body;
          throw wrongReply("wrong_length", reply.status);
        }),
    );
  }

  /** See {@linkcode ObjectStore.deleteObject}. */
  async deleteObject(
    name: string,
    { expected, date, onLost, signal }: DeleteObjectOptions = {},
  ): Promise<void> {
    const url = this.#url(name);
    await this.#naming("delete", name, () =>
      this.#sendIf(
        expected ? ifStill(this.provider, expected) : {},
        { method: "DELETE", url, date, onLost, signal },
        (reply) => checkDeleted(reply, "object_missing"),
      ));
  }

  /** See {@linkcode ObjectStore.abandonUpload}. */
  async abandonUpload(
    name: string,
    uploadId: string,
    { signal }: ObjectStoreOptions = {},
  ): Promise<void> {
    const url = this.#url(name, { uploadId });
    await this.#naming(
      "delete",
      name,
      () =>
        this.#http.send(
          { method: "DELETE", url, signal },
          (reply) => checkDeleted(reply, "upload_missing"),
        ),
    );
  }

  /** See {@linkcode ObjectStore.listObjects}. */
  async *listObjects(
    prefix: string,
    { signal }: ObjectStoreOptions = {},
  ): AsyncGenerator<StoredObject, void, undefined> {
    const listing = new Listing(prefix);
    while (!listing.isOver) {
      const { token } = listing;
      const url = this.#url("", {
        "list-type": "2",
        prefix,
        ...(token === undefined ? {} : { "continuation-token": token }),
      });
      yield* await this.#naming(
        "list",
        prefix,
        () =>
          this.#http.send({ method: "GET", url, signal }, (reply) => {
            expectStatus(reply, 200);
            const page = readPage(reply);
            listing.take(page);
            return page.objects;
          }),
      );
    }
  }

  async #putParts(
    name: string,
    parts: AsyncIterable<Uint8Array<ArrayBuffer>>,
    { begin, onLost, signal }: PutObjectOptions,
  ): Promise<void> {
    const options = { signal };
    const uploadId = await this.#startUpload(name, options);
    try {
      const etags: string[] = [];
      let bytes = 0;
      for await (const part of parts) {
        const partNumber = String(etags.length + 1);
        etags.push(
          await this.#put(
            {},
            { url: this.#url(name, { partNumber, uploadId }), ...options },
            part,
          ),
        );
        bytes += part.length;
      }
      const date = await begin?.(uploadId);
      await this.#finishUpload(name, uploadId, { etags, bytes }, {
        date,
        onLost,
        signal,
      });
    } catch (error) {
      await this.#abortUpload(name, uploadId, options);
      throw error;
    }
  }

  async #putWhole(
    name: string,
    body: Uint8Array<ArrayBuffer>,
    { begin, onLost, signal }: PutObjectOptions,
  ): Promise<void> {
    const url = this.#url(name);
    const date = await begin?.(undefined);
    const condition = date && ifAbsent(this.provider, { inParts: false });
    try {
      await this.#put(condition ?? {}, { url, date, onLost, signal }, body);
    } catch (error) {
      if (date === undefined || !isChanged(error)) throw error;
    }
  }

  /** Writes a whole object or a part; returns the etag that the store gave. */
  #put(
    condition: Condition,
    request: Pick<HttpRequest, "url" | "date" | "onLost" | "signal">,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<string> {
    const md5 = createHash("md5").update(body).digest("base64");
    const headers = {
      "content-md5": md5,
      "content-type": "application/octet-stream",
    };
    return this.#sendIf(
      condition,
      { method: "PUT", headers, body, ...request },
      (reply) => {
        expectStatus(reply, 200);
        return readEtag(reply);
      },
    );
  }

  /** Sends a request with a condition, or without it if unsupported. */
  async #sendIf<T>(
    condition: Condition,
    request: HttpRequest,
    read: (reply: HttpReply, attempt: number) => T,
  ): Promise<T> {
    if (!this.#knowsConditions || Object.keys(condition).length === 0) {
      return await this.#http.send(request, read);
    }
    try {
      const headers = { ...request.headers, ...condition };
      return await this.#http.send({ ...request, headers }, read);
    } catch (error) {
      const isUnknown = error instanceof ReplyFault &&
        error.init.reason === "not_implemented";
      // The proof for Google rests on its conditions: see conditions.ts.
      if (!isUnknown || this.provider !== "s3") throw error;
      const result = await this.#http.send(request, read);
      this.#knowsConditions = false;
      return result;
    }
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
        return readUploadId(reply);
      },
    );
  }

  async #finishUpload(
    name: string,
    uploadId: string,
    { etags, bytes }: { etags: readonly string[]; bytes: number },
    { date, onLost, signal }: DeleteObjectOptions,
  ): Promise<void> {
    const body = completionOf(etags);
    const url = this.#url(name, { uploadId });
    const headers = { "content-type": "application/xml" };
    let attempts = 0;
    try {
      await this.#sendIf(
        date === undefined ? {} : ifAbsent(this.provider, { inParts: true }),
        { method: "POST", url, headers, body, date, onLost, signal },
        (reply, attempt) => {
          attempts = attempt;
          if (reply.status !== 200) throw statusFault(reply);
          // The store sent this status before it began; the body is its answer.
          const root = xmlOf(reply.body)?.name;
          if (root === "CompleteMultipartUploadResult") return;
          throw statusFault({ ...reply, status: 500 });
        },
      );
    } catch (error) {
      if (date !== undefined && isChanged(error)) return;
      // An earlier attempt whose answer was lost may have completed the upload,
      // which then no longer exists.
      const found = attempts > 1
        ? await this.headObject(name, { signal })
        : undefined;
      if (found?.size !== bytes) throw error;
    }
  }

  /** Otherwise its parts stay and cost money, unless the bucket has a rule. */
  async #abortUpload(
    name: string,
    uploadId: string,
    { signal: given }: ObjectStoreOptions,
  ): Promise<void> {
    const url = this.#url(name, { uploadId });
    const late = AbortSignal.timeout(
      given?.aborted ? partingMs : this.#parts.policy.stallMs,
    );
    const signal = given === undefined || given.aborted
      ? late
      : AbortSignal.any([late, given]);
    await this.#http.send({ method: "DELETE", url, signal }, () => {}).catch(
      () => {},
    );
  }

  #url(name: string, query: Record<string, string> = {}): URL {
    return objectUrl(this.#parts.baseUrl, name, query);
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
      // An error that `begin` throws ends the call, too.
      errorType = isStreamStorageError(error)
        ? String(error.details["reason"])
        : "aborted";
      if (!(error instanceof ReplyFault)) throw error;
      errorType = error.init.reason;
      throw error.toStorageError({ provider, action, object });
    } finally {
      const milliseconds = performance.now() - since;
      onCall({ action, milliseconds, errorType });
    }
  }
}

/** Requests a range, and refuses a reply whose head names another one. */
function rangeOf(url: URL, { start, size }: ByteRange): HttpRequest {
  const last = start + size - 1;
  return {
    method: "GET",
    url,
    headers: { range: `bytes=${start}-${last}` },
    maxReplyBytes: size,
    checkHead: (status, headers) =>
      checkRange(start, last, { status, headers }),
  };
}

/** Whether the store has another object than the request was meant for. */
function isChanged(error: unknown): boolean {
  return error instanceof ReplyFault && error.init.reason === "object_changed";
}
