import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { S3Options } from "../../src/media/s3.ts";
import {
  type NoReply,
  type RawReply,
  type RawRequest,
  startRawServer,
} from "./raw_http.ts";

/** What happens to a request: as usual, or something else. */
export type Interference = (
  request: RawRequest,
  /** The server's own reply. */
  answer: () => Promise<RawReply>,
) => Promise<RawReply | NoReply> | undefined;

/** An S3 server that checks signatures, and the layer of faults before it. */
export interface S3Server extends AsyncDisposable {
  options: S3Options;
  /** Requests so far: `PUT /media/a/b?partNumber=1`. */
  readonly requests: string[];
  /** Set by tests. */
  interfere: Interference | undefined;
}

/** Starts the server; its data go with it. */
export async function startS3Server(): Promise<S3Server> {
  const directory = await mkdtemp(join(tmpdir(), "stream-storage-s3-"));
  const bucket = "media-tests";
  const program = new URL("s3_server_program.ts", import.meta.url);
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
  const requests: string[] = [];
  const server: { interfere: Interference | undefined } = {
    interfere: undefined,
  };
  const front = await startRawServer(async (request) => {
    requests.push(`${request.method} ${request.target}`);
    const answer = () => forward(port, request);
    return await (server.interfere?.(request, answer) ?? answer());
  });
  return Object.assign(server, {
    options: {
      bucket,
      region: "eu-central-1",
      endpoint: front.url,
      accessKeyId: "S3RVER",
      secretAccessKey: "S3RVER",
    },
    requests,
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      child.stdin.end();
      child.kill();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  });
}

/** With the headers as they are: the signature covers the host, too. */
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
  const told = kept["content-length"];
  delete kept["content-length"];
  return {
    status: reply.statusCode,
    headers: kept,
    body: received,
    ...(method === "HEAD" && told !== undefined
      ? { contentLength: Number(told) }
      : {}),
  };
}
