/**
 * A socket to a server. It passes its bytes and its end to the present
 * listener, first the login, then the session. It always has a listener for
 * errors, because an unhandled one would end the process.
 */

import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Address } from "../current_server.ts";
import type { TlsSettings } from "./certificates.ts";
import { ConnectionClosedError } from "./login_error.ts";
import { terminate } from "./messages.ts";
import { pauseIfTurnIsOver } from "./reading_turn.ts";
import { checkHandshake, handshakeError, tlsOptions } from "./tls.ts";

/**
 * With pieces of 64 KiB, every sixth block of 10 KB is split between two, and a
 * large read takes an eighth more processor time of the client.
 */
const readBytes = 256 * 1024;

/** See the head of this file. */
export class Line {
  #socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  #isEncrypted = false;
  #lost: Error | undefined;
  readonly #closed = Promise.withResolvers<void>();
  readonly #onLost = new Set<(error: Error) => void>();

  /**
   * A plain line reads into one reused buffer, which is faster, but Deno can't
   * put TLS over such a socket.
   */
  constructor(kind: "plain" | "tls") {
    this.#socket = kind === "plain" ? this.#reusingSocket() : new Socket();
    this.#watch(this.#socket);
    if (kind === "tls") this.#socket.on("data", this.#read);
    // The end is noticed only while the socket is read.
    else this.#socket.resume();
  }

  /** The outermost socket. */
  get socket(): Socket {
    return this.#socket;
  }

  /** Sets the receiver of bytes; a chunk is valid until the call returns. */
  receive(take: (chunk: Buffer) => void): void {
    this.#take = take;
  }

  /** Calls back once, when the line has broken or ended. */
  onLost(callback: (error: Error) => void): void {
    if (this.#lost === undefined) this.#onLost.add(callback);
    else callback(this.#lost);
  }

  /** Connects to a host, or to a socket in a directory. */
  async connect(
    { host, port }: Address,
    keepAliveMs: number | undefined,
  ): Promise<void> {
    const socket = this.#socket;
    const connected = this.#until("connect");
    if (isSocketDirectory(host)) {
      socket.connect({ path: `${host}/.s.PGSQL.${port}` });
    } else {
      socket.setNoDelay(true);
      socket.connect({ host, port });
    }
    await connected;
    if (keepAliveMs !== undefined) socket.setKeepAlive(true, keepAliveMs);
  }

  /**
   * Puts TLS over the socket.
   *
   * @throws {LoginError} the handshake failed.
   */
  async encrypt(ssl: TlsSettings, host: string): Promise<void> {
    const plain = this.#socket;
    plain.off("data", this.#read);
    const socket = startTls(plain, ssl, host);
    this.#socket = socket;
    this.#watch(socket, handshakeError);
    await this.#until("secureConnect");
    checkHandshake(socket, ssl);
    this.#isEncrypted = true;
    socket.on("data", this.#read);
  }

  /** The server's certificate in DER; undefined where it can't be read. */
  get certificate(): Uint8Array | undefined {
    const socket = this.#socket as Partial<TLSSocket>;
    const { raw } = socket.getPeerCertificate?.(true) ?? {};
    return raw instanceof Uint8Array && raw.length > 0 ? raw : undefined;
  }

  /** Whether TLS is on. */
  get isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  /** Writes; does nothing if the line has broken. */
  send(bytes: Buffer): void {
    if (this.#lost === undefined) this.#socket.write(bytes);
  }

  /** Ends the line, then waits until the socket is closed. */
  end(): Promise<void> {
    if (this.#socket.writable) this.#socket.end(terminate());
    return this.#closed.promise;
  }

  /** Breaks the line now. */
  destroy(error: Error): void {
    this.#lose(error);
    this.#socket.destroy();
  }

  /** An error of reading ends the line, never the process. */
  readonly #read = (chunk: Buffer): void => {
    try {
      this.#take(chunk);
      pauseIfTurnIsOver(this.#socket, chunk.length);
    } catch (error) {
      this.destroy(error as Error);
    }
  };

  #reusingSocket(): Socket {
    return new Socket({
      onread: {
        buffer: Buffer.allocUnsafeSlow(readBytes),
        // Bun below 1.4 reads into a buffer of its own instead of ours.
        callback: (size, bytes) => {
          this.#read((bytes as Buffer).subarray(0, size));
          return true;
        },
      },
    });
  }

  #watch(
    socket: Socket,
    meaning: (error: Error) => Error = (error) => error,
  ): void {
    socket.on("error", (error) => this.#lose(meaning(error)));
    socket.on("close", () => {
      this.#lose(new ConnectionClosedError());
      // Under TLS the inner socket closes, too.
      if (socket === this.#socket) this.#closed.resolve();
    });
  }

  #until(event: "connect" | "secureConnect"): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once(event, () => resolve());
      this.onLost(reject);
    });
  }

  #lose(error: Error): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    for (const callback of this.#onLost) callback(error);
    this.#onLost.clear();
  }
}

/** Throws at once if the runtime can't use our certificate. */
function startTls(socket: Socket, ssl: TlsSettings, host: string): TLSSocket {
  try {
    return connectTls({ socket, ...tlsOptions(ssl, host) });
  } catch (error) {
    throw handshakeError(error as Error);
  }
}

/** As in libpq, a host that starts with a slash is a directory of sockets. */
export function isSocketDirectory(host: string): boolean {
  return host.startsWith("/");
}
