/**
 * Requests to an object store, attempted one after another until the reply is
 * as requested.
 *
 * An attempt fails when nothing moves for `stallMs`, when it takes longer than
 * its bytes would at `minBytesPerSecond`, when the connection breaks, when the
 * body is not as long as announced, and when its reader throws.
 * {@linkcode ReplyFault} says what is retried: a lost or broken answer, 408,
 * 429 and 5xx; so every request here must be safe to send twice. Delays grow
 * and are jittered; a Retry-After is respected, up to a bound.
 */

import { setTimeout as delay } from "node:timers/promises";
import pRetry from "p-retry";
import { unlessAborted } from "../storage/unless_aborted.ts";
import { isProofRefused } from "./kept_credential.ts";
import { ReplyFault } from "./reply_fault.ts";
import { xmlOf, xmlText } from "./xml.ts";

/** A request before it is signed. */
export interface HttpRequest {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  url: URL;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer>;
  /** A longer reply is refused, unless it is as short as a list or an error. */
  maxReplyBytes?: number;
  /** Refuses a reply before its body is read, by throwing. */
  checkHead?: (status: number, headers: Headers) => void;
  signal?: AbortSignal | undefined;
  /** The date of every attempt, where signatures stay valid for a while. */
  date?: Date | undefined;
  /** Called for each attempt that the other side may still be executing. */
  onLost?: (() => void) | undefined;
}

/** A reply, read to its end. */
export interface HttpReply {
  status: number;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
}

/** Adds the headers that authorize a request. */
export interface Authorizer {
  /** All headers of the request; called again for each attempt. */
  authorize(request: HttpRequest): Promise<Headers>;
  /** Drops a refused credential, so that the next request gets a new one. */
  forget?(): void;
}

/** How requests are retried and how long they may take. */
export interface HttpPolicy {
  /** Attempts in all, including the first. */
  attempts: number;
  minDelayMs: number;
  maxDelayMs: number;
  /** The longest Retry-After that is waited for. */
  maxRetryAfterMs: number;
  /** The longest time without receiving anything. */
  stallMs: number;
  /** An attempt that is slower fails. */
  minBytesPerSecond: number;
}

/** Defaults for real stores. */
export const defaultHttpPolicy: HttpPolicy = {
  attempts: 6,
  minDelayMs: 100,
  maxDelayMs: 5000,
  maxRetryAfterMs: 20_000,
  stallMs: 15_000,
  minBytesPerSecond: 128 * 1024,
};

const minMaxReplyBytes = 4 * 1024 * 1024;

/** Sends requests; see the file's head. */
export class HttpClient {
  readonly #policy: HttpPolicy;
  readonly #authorizer: Authorizer | undefined;

  constructor(policy: HttpPolicy, authorizer?: Authorizer) {
    this.#policy = policy;
    this.#authorizer = authorizer;
  }

  /**
   * Sends a request until `read` accepts its reply. `read` throws a
   * {@linkcode ReplyFault} for a reply that does not answer the request;
   * `attempt` is above 1 when an earlier answer may have been lost.
   *
   * @throws {ReplyFault} the last attempt's fault, or the signal's reason.
   */
  async send<T>(
    request: HttpRequest,
    read: (reply: HttpReply, attempt: number) => T,
  ): Promise<T> {
    const { attempts, minDelayMs, maxDelayMs, maxRetryAfterMs } = this.#policy;
    const { signal } = request;
    let hasForgotten = false;
    return await pRetry(async (attempt) => {
      const headers = await this.#headersOf(request);
      try {
        return read(await this.#attempt(request, headers), attempt);
      } catch (error) {
        if (isLost(error)) request.onLost?.();
        throw error;
      }
    }, {
      retries: attempts - 1,
      minTimeout: minDelayMs,
      maxTimeout: maxDelayMs,
      randomize: true,
      shouldRetry: ({ error }) => {
        if (!(error instanceof ReplyFault)) return false;
        const isStale = !hasForgotten && isProofRefused(request.method, error);
        if (!isStale || !this.#authorizer?.forget) return error.init.retryable;
        this.#authorizer.forget();
        hasForgotten = true;
        return true;
      },
      onFailedAttempt: async ({ error, retriesLeft }) => {
        if (!(error instanceof ReplyFault) || retriesLeft === 0) return;
        const { retryable, retryAfterMs = 0 } = error.init;
        if (!retryable || retryAfterMs === 0) return;
        const wait = Math.min(retryAfterMs, maxRetryAfterMs);
        await delay(wait, undefined, signal ? { signal } : {});
      },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async #headersOf(request: HttpRequest): Promise<Headers> {
    const headers = this.#authorizer === undefined
      ? new Headers(request.headers)
      : await unlessAborted(
        request.signal,
        this.#authorizer.authorize(request),
      );
    // A compressed body would not have the requested length.
    headers.set("accept-encoding", "identity");
    return headers;
  }

  async #attempt(request: HttpRequest, headers: Headers): Promise<HttpReply> {
    const { method, url, body, signal } = request;
    // A store's error message may be longer than the requested reply.
    const maxBytes = Math.max(request.maxReplyBytes ?? 0, minMaxReplyBytes);
    const watch = new Watch(this.#policy, body?.length ?? 0, maxBytes);
    try {
      const signals = signal ? [watch.signal, signal] : [watch.signal];
      const reply = await fetch(url, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any(signals),
        // A signature is valid for one address only.
        redirect: "manual",
        // When a reused connection turns out to be closed, Bun silently sends
        // the request again. The attempt may then be answered while an earlier
        // one can still be executed.
        ...(request.onLost === undefined ? {} : { keepalive: false }),
      });
      return {
        status: reply.status,
        headers: reply.headers,
        body: await readBody(reply, request, maxBytes, watch),
      };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof ReplyFault) throw error;
      throw watch.signal.aborted
        ? new ReplyFault({ reason: "timeout", retryable: true })
        : new ReplyFault({
          reason: "network_error",
          retryable: true,
          details: { systemCode: systemCodeOf(error) },
        });
    } finally {
      watch.stop();
    }
  }
}

/** Aborts an attempt that stalls or is too slow. */
class Watch {
  readonly #stop = new AbortController();
  readonly #stallMs: number;
  readonly #total: ReturnType<typeof setTimeout>;
  #stall: ReturnType<typeof setTimeout>;

  constructor(policy: HttpPolicy, sentBytes: number, maxBytes: number) {
    const { stallMs, minBytesPerSecond } = policy;
    const sendMs = sentBytes * 1000 / minBytesPerSecond;
    const readMs = maxBytes * 1000 / minBytesPerSecond;
    this.#stallMs = stallMs;
    // Progress of sending is not reported, so sending counts as one step.
    this.#stall = this.#after(stallMs + sendMs);
    this.#total = this.#after(stallMs + sendMs + readMs);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Restarts the stall timer when something is received. */
  moved(): void {
    clearTimeout(this.#stall);
    this.#stall = this.#after(this.#stallMs);
  }

  stop(): void {
    clearTimeout(this.#stall);
    clearTimeout(this.#total);
  }

  #after(ms: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#stop.abort(), ms);
  }
}

/** Reads a body of exactly the length that the reply's head announces. */
async function readBody(
  reply: Response,
  { method, checkHead }: HttpRequest,
  maxBytes: number,
  watch: Watch,
): Promise<Uint8Array<ArrayBuffer>> {
  const { status, headers } = reply;
  const reader = reply.body?.getReader();
  try {
    watch.moved();
    if (method !== "HEAD") checkPlain(status, headers);
    checkHead?.(status, headers);
    const contentLength = method === "HEAD" || status === 204
      ? "0"
      : headers.get("content-length");
    const expected = contentLength === null ? undefined : Number(contentLength);
    const body = new Collector(expected ?? 0, maxBytes);
    for (;;) {
      const piece = await reader?.read();
      if (piece === undefined || piece.done) break;
      watch.moved();
      body.add(piece.value);
    }
    const bytes = body.bytes();
    if (expected === undefined || bytes.length === expected) return bytes;
    throw new ReplyFault({
      reason: "short_body",
      retryable: true,
      status,
      details: { expected, actual: bytes.length },
    });
  } catch (error) {
    await reader?.cancel().catch(() => {});
    throw error;
  }
}

/**
 * Refuses a compressed reply. None was requested, but some runtimes decompress
 * it: its length then says nothing, and a few bytes grow to as many as the
 * bound allows.
 */
function checkPlain(status: number, headers: Headers): void {
  const encoding = headers.get("content-encoding") || "identity";
  if (encoding.toLowerCase() === "identity") return;
  throw new ReplyFault({ reason: "packed_reply", retryable: true, status });
}

/** Collects a body, in one piece of memory if its length was announced. */
class Collector {
  readonly #maxBytes: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(expected: number, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#check(expected);
    this.#bytes = new Uint8Array(expected);
  }

  add(piece: Uint8Array): void {
    const end = this.#length + piece.length;
    this.#check(end);
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = end;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.length === this.#length
      ? this.#bytes
      : this.#bytes.slice(0, this.#length);
  }

  #check(length: number): void {
    if (length <= this.#maxBytes) return;
    throw new ReplyFault({ reason: "reply_too_long", retryable: false });
  }
}

/**
 * Whether the other side may still execute the attempt: there was no answer, it
 * broke off, or it came from a proxy that has lost track of the request and
 * does not use the store's error codes.
 */
function isLost(error: unknown): boolean {
  if (!(error instanceof ReplyFault)) return true;
  const { status, reason, providerCode } = error.init;
  if (reason === "rate_limited" || reason === "not_implemented") return false;
  return providerCode === undefined || status === 408 || status! >= 500;
}

/** The meaning of a status that differs from the requested one. */
export function statusFault({ status, headers, body }: HttpReply): ReplyFault {
  const providerCode = providerCodeOf(body);
  const reason = reasonOf(status, providerCode);
  const isServerFault = status >= 500 && reason !== "not_implemented";
  // A 404 without the store's code is a proxy's; the next try may get through.
  const isAstray = status === 404 && providerCode === undefined;
  const retryable = status === 408 || status === 429 || isServerFault ||
    isAstray || retryableCodes.has(providerCode ?? "");
  const retryAfterMs = retryAfterOf(headers);
  return new ReplyFault({
    reason,
    retryable,
    status,
    ...(providerCode === undefined ? {} : { providerCode }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Codes that may be retried although their status blames the request. */
const retryableCodes: ReadonlySet<string> = new Set([
  "RequestTimeout",
  "SlowDown",
  // Another request for the same object was in progress.
  "ConditionalRequestConflict",
]);

function reasonOf(status: number, providerCode: string | undefined): string {
  if (providerCode === "NoSuchBucket") return "bucket_missing";
  if (providerCode === "NoSuchUpload") return "upload_missing";
  if (providerCode === "RequestTimeTooSkewed") return "request_too_late";
  if (status === 501 || providerCode === "NotImplemented") {
    return "not_implemented";
  }
  if (status === 404 && providerCode === "NoSuchKey") return "object_missing";
  if (status === 412) return "object_changed";
  if (status === 401 || status === 403) return "access_denied";
  if (status === 429 || providerCode === "SlowDown") return "rate_limited";
  if (status >= 300 && status < 400) return "wrong_endpoint_or_region";
  return status >= 500 ? "server_error" : "unexpected_status";
}

/** Accepts only text that looks like an error code of a store. */
function providerCodeOf(body: Uint8Array): string | undefined {
  if (body.length === 0 || body.length > 64 * 1024) return undefined;
  const root = xmlOf(body);
  const code = root?.name === "Error" ? xmlText(root, "Code") : undefined;
  return code !== undefined && /^\w{1,64}$/.test(code) ? code : undefined;
}

function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value)
    ? Number(value) * 1000
    : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function systemCodeOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as { code?: unknown };
    if (typeof code === "string" && /^\w{1,64}$/.test(code)) return code;
  }
  return error instanceof Error ? error.name : undefined;
}
