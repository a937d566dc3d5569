/**
 * A socket to a server: what comes and its end go to whoever listens at the
 * moment, first the login, then the session. It never lacks a listener for its
 * errors, or one of them would end the process.
 */

import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Address } from "../current_server.ts";
import type { TlsSettings } from "./certificates.ts";
import { ConnectionClosedError } from "./login_error.ts";
import { terminate } from "./messages.ts";
import { checkHandshake, handshakeError, tlsOptions } from "./tls.ts";

/** As much as a kernel hands over at once; fits into a core's own cache. */
const readBytes = 64 * 1024;

/** See the file's head. */
export class Line {
  #socket: Socket;
  #take: (chunk: Buffer) => void = () => {};
  #isEncrypted = false;
  #lost: Error | undefined;
  readonly #closed = Promise.withResolvers<void>();
  readonly #onLost = new Set<(error: Error) => void>();

  /**
   * A plain line reads into one buffer again and again, which is faster, but
   * Deno can't put TLS over such a socket.
   */
  constructor(kind: "plain" | "tls") {
    this.#socket = kind === "plain" ? this.#reusingSocket() : new Socket();
    this.#watch(this.#socket);
    if (kind === "tls") this.#socket.on("data", this.#read);
    // Without a reader the end is never seen.
    else this.#socket.resume();
  }

  /** The outermost socket. */
  get socket(): Socket {
    return this.#socket;
  }

  /** Where bytes go from now on; each chunk holds until the call returns. */
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

  /** The server's certificate in DER; undefined where it is not to be had. */
  get certificate(): Uint8Array | undefined {
    const socket = this.#socket as Partial<TLSSocket>;
    const { raw } = socket.getPeerCertificate?.(true) ?? {};
    return raw instanceof Uint8Array && raw.length > 0 ? raw : undefined;
  }

  /** Whether TLS is on. */
  get isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  /** Writes; a line that has broken takes nothing. */
  send(bytes: Buffer): void {
    if (this.#lost === undefined) this.#socket.write(bytes);
  }

  /** Says goodbye, then waits until the socket is closed. */
  end(): Promise<void> {
    if (this.#socket.writable) this.#socket.end(terminate());
    return this.#closed.promise;
  }

  /** Breaks the line now. */
  destroy(error: Error): void {
    this.#lose(error);
    this.#socket.destroy();
  }

  /** Errors of reading are the line's end, never the process's. */
  readonly #read = (chunk: Buffer): void => {
    try {
      this.#take(chunk);
    } catch (error) {
      this.destroy(error as Error);
    }
  };

  #reusingSocket(): Socket {
    return new Socket({
      onread: {
        buffer: Buffer.allocUnsafeSlow(readBytes),
        // Bun below 1.4 reads into a buffer of its own, not into ours.
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
      // Under TLS the inner one closes, too.
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

/** Throws at once for a certificate of ours that the runtime can't use. */
function startTls(socket: Socket, ssl: TlsSettings, host: string): TLSSocket {
  try {
    return connectTls({ socket, ...tlsOptions(ssl, host) });
  } catch (error) {
    throw handshakeError(error as Error);
  }
}

/** Such a host is a directory of sockets, as libpq has it. */
export function isSocketDirectory(host: string): boolean {
  return host.startsWith("/");
}
