import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { AwsV4Signer } from "aws4fetch";
import type { S3Credentials } from "../../../src/media/given_credentials.ts";
import type { S3Place } from "../../../src/media/s3.ts";
import {
  type HeldRequest,
  HeldRequests,
  type Holding,
} from "./held_requests.ts";
import {
  type NoReply,
  type RawReply,
  type RawRequest,
  startRawServer,
} from "./raw_http.ts";

/** Decides what happens to a request. */
export type Interference = (
  request: RawRequest,
  /** Gets the server's own reply. */
  answer: () => Promise<RawReply>,
) => Promise<RawReply | NoReply> | undefined;

/** How a server treats `If-Match` and `If-None-Match`. */
export type Conditions = "kept" | "ignored" | "refused";

/** An S3 server that checks signatures, behind a layer that makes faults. */
export interface S3Server extends AsyncDisposable {
  options: S3Place & S3Credentials;
  /** The requests so far, such as `PUT /media/a/b?partNumber=1`. */
  readonly requests: string[];
  /** Set by tests, to change what happens to requests. */
  interfere: Interference | undefined;
  /** How the server treats conditions. Default: kept. */
  conditions: Conditions;
  /** Holds back requests that fit; resolves with the first one. */
  hold(holding: Holding): Promise<HeldRequest>;
  /**
   * Advances the server's clock. It affects only the dates of requests that
   * change an object; otherwise clients count as having the same clock.
   */
  advance(ms: number): void;
}

/** Starts the server; disposing of it removes its data. */
export async function startS3Server(): Promise<S3Server> {
  const directory = await mkdtemp(join(tmpdir(), "stream-storage-s3-"));
  const { child, ended, port } = await startProgram(directory);
  const requests: string[] = [];
  const server: Pick<S3Server, "interfere" | "conditions"> = {
    interfere: undefined,
    conditions: "kept",
  };
  let aheadMs = 0;
  const execute = async (request: RawRequest) => {
    const reply = tooLate(request, aheadMs) ??
      await unmet(port, request, server.conditions) ??
      inOrder(await forward(port, await resigned(request, aheadMs)));
    const date = new Date(Date.now() + aheadMs).toUTCString();
    return { ...reply, headers: { ...reply.headers, date } };
  };
  const held = new HeldRequests(execute);
  const front = await startRawServer(async (request) => {
    requests.push(`${request.method} ${request.target}`);
    const kept = held.intercept(request);
    if (kept !== undefined) return kept;
    const answer = () => execute(request);
    return await (server.interfere?.(request, answer) ?? answer());
  });
  return Object.assign(server, {
    options: {
      bucket,
      region,
      endpoint: front.url,
      ...keys,
    },
    requests,
    hold: (holding: Holding) => held.hold(holding),
    advance: (ms: number) => {
      aheadMs += ms;
    },
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      child.stdin.end();
      child.kill();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  });
}

const program = new URL("s3_server_program.ts", import.meta.url);

async function startProgram(directory: string) {
  const child = spawn(
    process.execPath,
    [
      "run",
      ...("Deno" in globalThis ? ["-A", "--no-check"] : []),
      fileURLToPath(program),
      directory,
      bucket,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const ended = once(child, "close");
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once("data", (data) => resolve(Number(String(data))));
    child.once("close", () => reject(new Error("The S3 server did not start")));
  });
  return { child, ended, port };
}

const bucket = "media-tests";
const region = "eu-central-1";
const keys = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };

const signing = { ...keys, region, service: "s3" };

/** Whether a request makes or deletes an object by itself. */
function isChange({ method, url: { searchParams } }: RawRequest): boolean {
  if (method === "POST") return searchParams.has("uploadId");
  return (method === "PUT" || method === "DELETE") &&
    !searchParams.has("uploadId");
}

/** S3's refusal of requests that were signed more than 15 minutes ago. */
function tooLate(request: RawRequest, aheadMs: number): RawReply | undefined {
  if (!isChange(request)) return undefined;
  const signed = (request.headers.get("x-amz-date") ?? "").replace(
    /(....)(..)(..T..)(..)(..Z)/,
    "$1-$2-$3:$4:$5",
  );
  const age = Date.now() + aheadMs - Date.parse(signed);
  return age > 900_000 ? fault(403, "RequestTimeTooSkewed") : undefined;
}

/** The server behind has a clock of its own, so sign the request again. */
async function resigned(
  request: RawRequest,
  aheadMs: number,
): Promise<RawRequest> {
  if (aheadMs === 0 || !isChange(request)) return request;
  const { method, url, body } = request;
  const kept = new Headers(request.headers);
  for (const name of ["authorization", "x-amz-date", "host"]) kept.delete(name);
  const { headers } = await new AwsV4Signer({
    method,
    url: url.href,
    headers: kept,
    body,
    ...signing,
  }).sign();
  headers.set("host", url.host);
  return { ...request, headers };
}

/** The reply to a request whose condition is not met. */
async function unmet(
  port: number,
  { url, headers }: RawRequest,
  conditions: Conditions,
): Promise<RawReply | undefined> {
  const [absent, same] = [
    headers.get("if-none-match"),
    headers.get("if-match"),
  ];
  if (absent === null && same === null || conditions === "ignored") {
    return undefined;
  }
  if (conditions === "refused") return fault(501, "NotImplemented");
  const signed = await new AwsV4Signer({
    method: "HEAD",
    url: `http://127.0.0.1:${port}${url.pathname}`,
    ...signing,
  }).sign();
  const { status, headers: found } = await fetch(signed.url, {
    method: signed.method,
    headers: signed.headers,
  });
  if (absent === "*") {
    return status === 404 ? undefined : fault(412, "PreconditionFailed");
  }
  if (status === 404) return fault(404, "NoSuchKey");
  return found.get("etag") === same
    ? undefined
    : fault(412, "PreconditionFailed");
}

/**
 * Sorts a page of a listing. The server behind lists names in the order of the
 * directory, which is random under Bun.
 */
function inOrder(reply: RawReply): RawReply {
  const { body } = reply;
  if (body === undefined || body.length === 0) return reply;
  if (body.length > 1_000_000 || reply.status !== 200) return reply;
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  if (!text.includes("<ListBucketResult")) return reply;
  const objects = text.match(/<Contents>.*?<\/Contents>/gs) ?? [];
  const keyOf = (object: string) => /<Key>(.*?)<\/Key>/.exec(object)![1]!;
  const sorted = objects.toSorted((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
  let next = 0;
  const ordered = text.replace(
    /<Contents>.*?<\/Contents>/gs,
    () => sorted[next++]!,
  );
  return { ...reply, body: ordered };
}

function fault(status: number, code: string): RawReply {
  return { status, body: `<Error><Code>${code}</Code></Error>` };
}

/** Forwards the headers unchanged, because the signature covers the host, too. */
async function forward(
  port: number,
  { method, target, headers, body }: RawRequest,
): Promise<RawReply> {
  const sent = httpRequest({
    host: "127.0.0.1",
    port,
    method,
    path: target,
    headers: { ...Object.fromEntries(headers), connection: "close" },
  });
  sent.end(body);
  const [reply] = await once(sent, "response");
  const pieces: Uint8Array[] = [];
  for await (const piece of reply) pieces.push(piece);
  const received = new Uint8Array(
    await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer(),
  );
  const { connection: _connection, "transfer-encoding": _encoding, ...kept } =
    reply.headers as Record<string, string>;
  const contentLength = kept["content-length"];
  delete kept["content-length"];
  return {
    status: reply.statusCode,
    headers: kept,
    body: received,
    ...(method === "HEAD" && contentLength !== undefined
      ? { contentLength: Number(contentLength) }
      : {}),
  };
}
