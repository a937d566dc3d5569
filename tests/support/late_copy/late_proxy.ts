/**
 * A proxy before a PostgreSQL server that delivers one flush of a client late.
 *
 * ```ts
 * await using proxy = await startLateProxy(url);
 * const late = proxy.hold(matchesFlush(owner, streamId), 1);
 * await storage.deleteStream(streamId); // sent, lost, sent again
 * await storage.createStreamStorage(streamId, genesis);
 * await late.deliver(); // the first DELETE reaches the server only now
 * ```
 *
 * The flush that is held back vanishes, and its client's connection breaks: to
 * the client it is a write whose answer was lost. The connection to the server
 * stays open, so that the server executes the flush when it is delivered, as it
 * does with what a kernel retransmits for a process that has closed its socket.
 *
 * Only whole flushes pass, up to the Sync at which the server commits.
 */

import type { Buffer } from "node:buffer";
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";
import { parseConnectionUrl } from "../../../src/database/connection_target.ts";
import { readErrorFields } from "../../../src/database/pg_error.ts";
import {
  messageSplitter,
  type WireMessageBytes,
} from "../network/proxied_connection.ts";

/** What the server made of a late copy. */
export type LateAnswer =
  | { end: "executed" }
  | { end: "refused"; reason: string }
  /** The session ended without an answer: the copy may not have arrived. */
  | { end: "lost" };

/** Whether this is the flush to hold back. */
export type FlushMatcher = (messages: readonly Buffer[]) => boolean;

/** A flush that is to be held back, or is. */
export interface LateFlush {
  /** Whether it came, so that its client was cut off. */
  readonly isHeld: boolean;
  /** The flushes that matched so far, those that passed included. */
  readonly matched: number;
  /** Sends it to the server and waits for the answer. */
  deliver(): Promise<LateAnswer>;
}

/** A running proxy. */
export interface LateProxy extends AsyncDisposable {
  /** The server's url by way of this proxy. */
  readonly url: string;
  /**
   * Holds back the nth flush from now on that matches, and no later one; 0 only
   * counts. Of several that are asked for, the earlier ones take first.
   */
  hold(matches: FlushMatcher, nth: number): LateFlush;
  /** Forgets what was asked for, held back or not. */
  reset(): void;
}

/** A flush that contains each of the texts somewhere in its messages. */
export function matchesFlush(...texts: string[]): FlushMatcher {
  return (messages) =>
    texts.every((text) => messages.some((message) => message.includes(text)));
}

/** Starts a proxy on a free port of the loopback address. */
export async function startLateProxy(url: string): Promise<LateProxy> {
  const server = createServer({ noDelay: true, allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new RunningLateProxy(url, server);
}

class RunningLateProxy implements LateProxy {
  readonly url: string;
  readonly #server: Server;
  readonly #target: { host: string; port: number };
  readonly #connections = new Set<LateConnection>();
  #late: WaitingFlush[] = [];

  constructor(url: string, server: Server) {
    this.#target = parseConnectionUrl(url).hosts[0]!;
    const through = new URL(url);
    const { port } = server.address() as AddressInfo;
    through.host = `127.0.0.1:${port}`;
    through.searchParams.set("sslmode", "disable");
    this.url = through.href;
    this.#server = server;
    server.on("connection", (client) => this.#accept(client));
  }

  hold(matches: FlushMatcher, nth: number): LateFlush {
    const late = new WaitingFlush(matches, nth);
    this.#late.push(late);
    return late;
  }

  reset(): void {
    this.#late = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    const upstream = connect({
      ...this.#target,
      noDelay: true,
      allowHalfOpen: true,
    });
    const connection: LateConnection = new LateConnection(client, upstream, {
      isToHold: (messages) =>
        this.#late.some((late) => late.take(messages, connection)),
      closed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }
}

class WaitingFlush implements LateFlush {
  readonly #matches: FlushMatcher;
  readonly #nth: number;
  #connection: LateConnection | undefined;
  #matched = 0;

  constructor(matches: FlushMatcher, nth: number) {
    this.#matches = matches;
    this.#nth = nth;
  }

  get isHeld(): boolean {
    return this.#connection !== undefined;
  }

  get matched(): number {
    return this.#matched;
  }

  take(messages: readonly Buffer[], connection: LateConnection): boolean {
    if (!this.#matches(messages) || ++this.#matched !== this.#nth) return false;
    this.#connection = connection;
    return true;
  }

  deliver(): Promise<LateAnswer> {
    if (this.#connection === undefined) throw new Error("Nothing is held back");
    return this.#connection.deliver();
  }
}

interface LateConnectionListener {
  /** Whether this flush is to be held back. */
  isToHold(messages: readonly Buffer[]): boolean;
  /** Nothing is left of the connection. */
  closed(): void;
}

/** Messages of the client behind which the server answers without more. */
const ENDS_FLUSH = new Set(["S", "Q", "H", "X", "F"]);

/** One client with its session on the server. */
class LateConnection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #listener: LateConnectionListener;
  #isLoggedIn = false;
  #flush: Buffer[] = [];
  #held: readonly Buffer[] | undefined;
  /** Flushes that the server has yet to answer with a ReadyForQuery. */
  #unanswered = 0;
  #isClosed = false;
  #answered: ((answer: LateAnswer) => void) | undefined;
  #refusal: string | undefined;

  constructor(
    client: Socket,
    server: Socket,
    listener: LateConnectionListener,
  ) {
    this.#client = client;
    this.#server = server;
    this.#listener = listener;
    for (const side of ["frontend", "backend"] as const) {
      const isClient = side === "frontend";
      const socket = isClient ? client : server;
      const split = messageSplitter(side);
      socket.on("error", () => {}); // its end tells
      socket.on("data", (chunk: Buffer) => {
        for (const message of split(chunk)) {
          if (isClient) this.#fromClient(message);
          else this.#fromServer(message);
        }
      });
      socket.on("end", () => isClient ? this.#clientEnded() : this.#ended());
      socket.on("close", () => isClient ? this.#clientEnded() : this.#closed());
    }
  }

  /** Sends what is held back; see `LateFlush`. */
  deliver(): Promise<LateAnswer> {
    const { promise, resolve } = Promise.withResolvers<LateAnswer>();
    if (this.#isClosed) {
      resolve({ end: "lost" });
      return promise;
    }
    this.#answered = resolve;
    this.#unanswered++;
    for (const message of this.#held ?? []) this.#server.write(message);
    return promise;
  }

  destroy(): void {
    this.#client.destroy();
    this.#server.destroy();
  }

  #fromClient({ type, bytes }: WireMessageBytes): void {
    if (this.#held !== undefined) return; // the client is cut off
    this.#flush.push(bytes);
    if (this.#isLoggedIn && !ENDS_FLUSH.has(type)) return;
    const flush = this.#flush;
    this.#flush = [];
    if (type === "S" && this.#listener.isToHold(flush)) {
      this.#held = flush;
      this.#client.destroy();
      return;
    }
    if (this.#isLoggedIn && (type === "S" || type === "Q")) this.#unanswered++;
    for (const message of flush) this.#server.write(message);
  }

  #fromServer({ type, bytes }: WireMessageBytes): void {
    if (this.#held === undefined) this.#client.write(bytes);
    if (type === "Z" && !this.#isLoggedIn) this.#isLoggedIn = true;
    else if (type === "Z") this.#unanswered--;
    if (this.#answered === undefined) return;
    if (type === "E" && this.#unanswered === 1) this.#refusal = reasonOf(bytes);
    if (type === "Z" && this.#unanswered === 0) {
      this.#report({ end: "executed" });
      this.#server.end();
    }
  }

  /** While a copy is held back, its session on the server lasts. */
  #clientEnded(): void {
    if (this.#held === undefined) this.#server.end();
  }

  #ended(): void {
    this.#client.end();
    this.#server.end();
  }

  #closed(): void {
    this.#isClosed = true;
    this.#client.destroy();
    this.#report({ end: "lost" });
    this.#listener.closed();
  }

  #report(answer: LateAnswer): void {
    const reason = this.#refusal;
    this.#answered?.(
      reason === undefined ? answer : { end: "refused", reason },
    );
    this.#answered = undefined;
  }
}

/** The SQLSTATE of an error, with the reason that a check of ours gave. */
function reasonOf(bytes: Buffer): string {
  const fields = readErrorFields(bytes, 5, bytes.length);
  const reason = /"reason" ?: ?"(\w+)"/.exec(fields.get("M") ?? "")?.[1];
  return [fields.get("C"), reason].filter(Boolean).join(" ");
}
