/**
 * An HTTP server over plain sockets, with one request a connection. It can end a
 * reply at any byte, which HTTP libraries do not allow.
 */
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";

/** A request. */
export interface RawRequest {
  method: string;
  /** Path and query as the client sent them. */
  target: string;
  url: URL;
  headers: Headers;
  body: Uint8Array<ArrayBuffer>;
}

/** A reply, which may be cut. */
export interface RawReply {
  status: number;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** The length in the head: by default the true one; null means none. */
  contentLength?: number | null;
  /** Where the body is cut, and how; by default it is complete. */
  cut?: { after: number; by: "end" | "reset" | "hang" };
}

/** What happens instead of a reply. */
export type NoReply = "reset" | "hang";

/** A server on a port of its own. */
export interface RawServer extends AsyncDisposable {
  url: string;
}

/** Starts a server on loopback. */
export async function startRawServer(
  handle: (request: RawRequest) => Promise<RawReply | NoReply>,
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    serve(socket, handle).catch(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function serve(
  socket: Socket,
  handle: (request: RawRequest) => Promise<RawReply | NoReply>,
): Promise<void> {
  const request = await readRequest(socket);
  if (request === undefined) return;
  const reply = await handle(request);
  if (reply === "hang") return;
  if (reply === "reset") return socket.resetAndDestroy() as unknown as void;
  const body = typeof reply.body === "string"
    ? new TextEncoder().encode(reply.body)
    : reply.body ?? new Uint8Array();
  const length = reply.contentLength === undefined
    ? body.length
    : reply.contentLength;
  const head = [
    `HTTP/1.1 ${reply.status} Status`,
    ...Object.entries(reply.headers ?? {}).map(([k, v]) => `${k}: ${v}`),
    ...(length === null ? [] : [`content-length: ${length}`]),
    "connection: close",
  ];
  const { after = body.length, by = "end" } = reply.cut ?? {};
  const sent = request.method === "HEAD" ? 0 : after;
  await write(socket, new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
  await write(socket, body.subarray(0, sent));
  if (by === "reset") socket.resetAndDestroy();
  else if (by === "end") socket.end();
}

function write(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) =>
    socket.write(bytes, (error) => error ? reject(error) : resolve())
  );
}

async function readRequest(socket: Socket): Promise<RawRequest | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  let head: { text: string; end: number; bodyLength: number } | undefined;
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    pieces.push(piece);
    length += piece.length;
    if (head === undefined) {
      const all = join(pieces, length);
      const text = new TextDecoder("latin1").decode(all);
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) continue;
      const contentLength = /^content-length: *(\d+)/im.exec(
        text.slice(0, end),
      );
      const bodyLength = Number(contentLength?.[1] ?? 0);
      head = { text: text.slice(0, end), end: end + 4, bodyLength };
    }
    if (length >= head.end + head.bodyLength) break;
  }
  if (head === undefined) return undefined;
  const [first = "", ...lines] = head.text.split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const at = line.indexOf(":");
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
  return {
    method,
    target,
    url: new URL(target, `http://${headers.get("host")}`),
    headers,
    body: join(pieces, length).slice(head.end),
  };
}

function join(
  pieces: readonly Uint8Array[],
  length: number,
): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
