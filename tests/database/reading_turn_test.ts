/**
 * A line pauses reading when its receiver has used up the turn of the event
 * loop, with a plain and a TLS server that send as fast as they can.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import {
  type AddressInfo,
  createServer as createPlainServer,
  type Socket,
} from "node:net";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers";
import { createServer as createTlsServer } from "node:tls";
import { readTlsSettings } from "../../src/database/login/certificates.ts";
import { Line } from "../../src/database/login/line.ts";

const sentBytes = 8 * 1024 * 1024;
/** The size of a whole piece under TLS. */
const largeBytes = 16 * 1024;

function send(socket: Socket): void {
  socket.on("error", () => {});
  socket.end(new Uint8Array(sentBytes));
}

async function startServer(kind: "plain" | "tls") {
  const file = (name: string) =>
    readFile(new URL(`../fixtures/tls/${name}`, import.meta.url));
  const server = kind === "plain" ? createPlainServer(send) : createTlsServer(
    { key: await file("server.key"), cert: await file("server.crt") },
    send,
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

/** Keeps the event loop busy, as decoding would. */
function work(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Reads all bytes of the server; returns the most large pieces in one turn. */
async function mostPieces(
  kind: "plain" | "tls",
  pieceMs: number,
): Promise<number> {
  await using server = await startServer(kind);
  const line = new Line(kind);
  const ended = Promise.withResolvers<void>();
  line.onLost(() => ended.resolve());
  let [received, pieces, most] = [0, 0, 0];
  line.receive((chunk) => {
    received += chunk.length;
    if (chunk.length >= largeBytes) most = Math.max(most, ++pieces);
    work(pieceMs);
  });
  const turn = () => {
    pieces = 0;
    if (received < sentBytes) setImmediate(turn);
  };
  turn();
  const { port } = server.address() as AddressInfo;
  await line.connect({ host: "127.0.0.1", port }, undefined);
  if (kind === "tls") {
    await line.encrypt(await readTlsSettings({ mode: "require" }), "localhost");
  }
  await ended.promise;
  assert.equal(received, sentBytes);
  return most;
}

describe("A line whose receiver takes long for each piece", () => {
  it("pauses once the turn's time is up", async () => {
    // The first piece begins the time of 10 ms, the third ends it.
    const most = await mostPieces("plain", 6);
    assert.ok(most <= 4, `${most} pieces were read in one turn`);
  });

  it("pauses under TLS, too", async () => {
    const most = await mostPieces("tls", 6);
    assert.ok(most <= 4, `${most} pieces were read in one turn`);
  });
});
