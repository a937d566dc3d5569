/**
 * A proxy that opens a transaction on each session of the server before its
 * client gets the session, as pgpool-II may. Every statement succeeds, and
 * nothing is ever committed.
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Server, type Socket } from "node:net";
import { parseConnectionUrl } from "../../../src/database/connection_target.ts";
import { listen, portOf, throughPort } from "./listener.ts";

const ready = 0x5a;
const begin = Buffer.from("Q\0\0\0\x0aBEGIN\0", "latin1");

/** The proxy; made by `startBegunProxy`. */
class BegunProxy implements AsyncDisposable {
  readonly url: string;
  /** Whether new connections get an open transaction. */
  isOn = true;
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();

  constructor(url: string, listener: Server) {
    this.url = throughPort(url, portOf(listener));
    this.#listener = listener;
    const [target] = parseConnectionUrl(url).hosts;
    listener.on("connection", (client) => {
      const server = connect(target!);
      this.#pair(client, server);
      client.pipe(server);
      if (this.isOn) this.#beginAfterLogin(client, server);
      else server.pipe(client);
    });
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#listener.close();
    await once(this.#listener, "close");
  }

  #pair(...sockets: [Socket, Socket]): void {
    for (const socket of sockets) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.#sockets.delete(socket);
        for (const each of sockets) each.destroy();
      });
    }
  }

  /** Holds the login's last message back until the transaction is open. */
  #beginAfterLogin(client: Socket, server: Socket): void {
    let rest = Buffer.alloc(0);
    let loggedIn: Buffer | undefined;
    const onData = (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const message = rest.subarray(0, 1 + rest.readInt32BE(1));
        rest = rest.subarray(message.length);
        if (loggedIn === undefined) {
          if (message[0] !== ready) client.write(message);
          else {
            loggedIn = message;
            server.write(begin);
          }
        } else if (message[0] === ready) {
          server.off("data", onData);
          client.write(loggedIn);
          server.pipe(client);
        }
      }
    };
    server.on("data", onData);
  }
}

/** Starts a proxy on a free port of the loopback address. */
export async function startBegunProxy(url: string): Promise<BegunProxy> {
  return new BegunProxy(url, await listen(0));
}
