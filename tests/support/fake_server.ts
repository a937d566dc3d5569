/** A session whose server sends what a test wants, and only that. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { SessionAttrs } from "../../src/database/session_attrs.ts";
import { Session, type SessionOptions } from "../../src/database/session.ts";

/** Both ends of the connection. */
export interface FakeServer extends AsyncDisposable {
  session: Session;
  /** Sends these messages in one write. */
  say(...messages: Uint8Array[]): void;
  /** The number of cancel requests. */
  readonly cancels: number;
  /** Closes the server's end. */
  end(): void;
  /** Resolves when the client has terminated or closed its end. */
  left: Promise<void>;
}

/** The session's options, and whether the server accepts cancel requests. */
export interface FakeServerOptions extends Partial<SessionOptions> {
  takesCancels?: boolean;
  attrs?: SessionAttrs;
}

/** Connects a session that is already logged in. */
export async function fakeServer(
  { takesCancels = true, attrs = "any", ...options }: FakeServerOptions = {},
): Promise<FakeServer> {
  const listener = createServer({ allowHalfOpen: true });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const accepted = once(listener, "connection") as Promise<[Socket]>;
  const { port } = listener.address() as AddressInfo;
  const socket = connect({ host: "127.0.0.1", port });
  const [[server]] = await Promise.all([accepted, once(socket, "connect")]);
  server.on("error", () => {});
  server.resume();
  const left = new Promise<void>((resolve) => server.once("end", resolve));
  let cancels = 0;
  const session = new Session({
    socket,
    receive: (take) => void socket.on("data", take),
    end: () => Promise.resolve(void socket.end()),
    cancel: () => {
      cancels++;
      return Promise.resolve(takesCancels);
    },
    processId: 1,
    secretKey: new Uint8Array(4),
    attrs,
  }, {
    preparedStatements: true,
    answerTimeoutMs: 60_000,
    ...options,
  });
  socket.on("error", (error) => session.fail(error.message, error));
  socket.on("close", () => session.fail("Connection terminated"));
  return {
    session,
    say: (...messages) => void server.write(Buffer.concat(messages)),
    get cancels() {
      return cancels;
    },
    end: () => void server.end(),
    left,
    async [Symbol.asyncDispose]() {
      session.destroy("Done");
      server.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}

/** A message of the server. */
export function message(type: string, body: string | Uint8Array = ""): Buffer {
  const bytes = Buffer.from(body as string, "latin1");
  const head = Buffer.alloc(5);
  head.write(type, "latin1");
  head.writeInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** A row of one column of four bytes. */
export const int4Row = (value = 1) => {
  const body = Buffer.alloc(10);
  body.writeInt16BE(1, 0);
  body.writeInt32BE(4, 2);
  body.writeInt32BE(value, 6);
  return message("D", body);
};

export const parsed = message("1");
export const bound = message("2");
export const done = message("C", "SELECT 1\0");
export const ready = (status = "I") => message("Z", status);
/** An ErrorResponse or NoticeResponse. */
export const report = (type: "E" | "N", sqlState: string) =>
  message(type, `SERROR\0VERROR\0C${sqlState}\0MSomething\0\0`);
