/**
 * Requests to an object store: one attempt after the other until one is
 * answered as asked.
 *
 * An attempt fails when nothing moves for `stallMs`, when it takes longer than
 * its bytes at `minBytesPerSecond` would, when the connection breaks, when the
 * body is not as long as it says, and when its reader throws. What may be tried
 * again says {@linkcode ReplyFault}: a lost or broken answer, 408, 429 and 5xx;
 * so every request here can be sent twice. Delays grow and are jittered; a
 * Retry-After is waited for, up to a bound.
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
  /** A longer reply is refused, if it is longer than any list or complaint. */
  maxReplyBytes?: number;
  /** Refuses a reply before its body is read, by throwing. */
  checkHead?: (status: number, headers: Headers) => void;
  signal?: AbortSignal | undefined;
  /** The date of every attempt, where signatures hold for a while. */
  date?: Date | undefined;
  /** Hears of each attempt that the other side may still be executing. */
  onLost?: (() => void) | undefined;
}

/** A reply, read to its end. */
export interface HttpReply {
  status: number;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
}

/** Adds what proves who is asking. */
export interface Authorizer {
  /** All headers of the request; called anew for each attempt. */
  authorize(request: HttpRequest): Promise<Headers>;
  /** The store refused a proof: the next one must be a new one. */
  forget?(): void;
}

/** How requests are tried and how long they may take. */
export interface HttpPolicy {
  /** Attempts in all, the first included. */
  attempts: number;
  minDelayMs: number;
  maxDelayMs: number;
  /** How much of a Retry-After is waited for. */
  maxRetryAfterMs: number;
  /** Nothing was received for so long. */
  stallMs: number;
  /** Slower is too slow. */
  minBytesPerSecond: number;
}

/** For real stores. */
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
   * Sends a request until `read` takes its reply. `read` throws a
   * {@linkcode ReplyFault} for one that is not what was asked; `attempt` is
   * above 1 when an earlier answer may have been lost.
   *
   * @throws {ReplyFault} The last attempt's, or the signal's reason.
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
    // A packed body would have another length than the one that was asked for.
    headers.set("accept-encoding", "identity");
    return headers;
  }

  async #attempt(request: HttpRequest, headers: Headers): Promise<HttpReply> {
    const { method, url, body, signal } = request;
    // A store's complaint may be longer than what was asked for.
    const maxBytes = Math.max(request.maxReplyBytes ?? 0, minMaxReplyBytes);
    const watch = new Watch(this.#policy, body?.length ?? 0, maxBytes);
    try {
      const signals = signal ? [watch.signal, signal] : [watch.signal];
      const reply = await fetch(url, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any(signals),
        // A signature holds for one address.
        redirect: "manual",
        // Bun sends a request again, without a word, when a connection that was
        // used before turns out to be closed. An attempt may then be answered
        // although an earlier one can still be executed.
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

/** Aborts an attempt in which nothing moves, or too little. */
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
    // Of what is sent, nobody tells how far it is.
    this.#stall = this.#after(stallMs + sendMs);
    this.#total = this.#after(stallMs + sendMs + readMs);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Something was received. */
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

/** The body, of just the length that the reply's head gives. */
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
 * Nothing packed was asked for. Some runtimes unpack it all the same: then its
 * length says nothing, and a few bytes become as many as the bound allows.
 */
function checkPlain(status: number, headers: Headers): void {
  const encoding = headers.get("content-encoding") || "identity";
  if (encoding.toLowerCase() === "identity") return;
  throw new ReplyFault({ reason: "packed_reply", retryable: true, status });
}

/** Puts a body together, in one piece of memory if its length was told. */
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
 * broke off, or it came from something in between that has lost sight of it,
 * and does not use the store's words.
 */
function isLost(error: unknown): boolean {
  if (!(error instanceof ReplyFault)) return true;
  const { status, reason, providerCode } = error.init;
  if (reason === "rate_limited" || reason === "not_implemented") return false;
  return providerCode === undefined || status === 408 || status! >= 500;
}

/** What a reply with this status means when it is not the one asked for. */
export function statusFault({ status, headers, body }: HttpReply): ReplyFault {
  const providerCode = providerCodeOf(body);
  const reason = reasonOf(status, providerCode);
  const isServerFault = status >= 500 && reason !== "not_implemented";
  // Not the store's: what stands in between may find it the next time.
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

/** Of replies whose status alone would say that the request is at fault. */
const retryableCodes: ReadonlySet<string> = new Set([
  "RequestTimeout",
  "SlowDown",
  // Another request for the same object was under way.
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

/** Only what looks like a word of a store's vocabulary. */
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
