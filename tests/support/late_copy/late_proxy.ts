/**
 * A proxy in front of a PostgreSQL server that delivers one flush of a client
 * late.
 *
 * ```ts
 * await using proxy = await startLateProxy(url);
 * const late = proxy.hold(matchesFlush(owner, streamId), 1);
 * await storage.deleteStream(streamId); // sent, lost, sent again
 * await storage.createStreamStorage(streamId, genesis);
 * await late.deliver(); // the first DELETE reaches the server only now
 * ```
 *
 * When the proxy holds a flush back, it breaks the client's connection. To the
 * client the flush is a write whose answer was lost. The connection to the server
 * stays open, so the server executes the flush when the proxy delivers it. The
 * same happens to data that a kernel retransmits for a process that has closed
 * its socket.
 *
 * Only whole flushes pass, up to the Sync at which the server commits.
 */
import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { parseConnectionUrl } from "../../../src/database/connection_target.ts";
import { readErrorFields } from "../../../src/database/pg_error.ts";
import { portOf, throughPort } from "../network/listener.ts";
import {
  messageSplitter,
  type WireMessageBytes,
} from "../network/proxied_connection.ts";

/** The server's answer to a late copy. */
export type LateAnswer =
  | { end: "executed" }
  | { end: "refused"; reason: string }
  /** The session ended without an answer, so the copy may not have arrived. */
  | { end: "lost" };

/** Decides whether a flush is to be held back. */
export type FlushMatcher = (messages: readonly Buffer[]) => boolean;

/** A flush that was requested to be held back. */
export interface LateFlush {
  /** Whether the flush came, and its client was cut off. */
  readonly isHeld: boolean;
  /** The number of flushes that matched so far, including those that passed. */
  readonly matched: number;
  /** Sends the flush to the server and waits for the answer. */
  deliver(): Promise<LateAnswer>;
}

/** A running proxy. */
export interface LateProxy extends AsyncDisposable {
  /** The server's URL through this proxy. */
  readonly url: string;
  /**
   * Holds back the nth matching flush from now on, and no later one; 0 only
   * counts. Earlier requests take precedence.
   */
  hold(matches: FlushMatcher, nth: number): LateFlush;
  /** Forgets all requests, and the flushes that are held back. */
  reset(): void;
}

/** Matches a flush whose messages contain each of the texts. */
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
    this.url = throughPort(url, portOf(server));
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
    if (this.#connection === undefined) {
      throw new Error("Expected a held flush");
    }
    return this.#connection.deliver();
  }
}

interface LateConnectionListener {
  /** Whether this flush is to be held back. */
  isToHold(messages: readonly Buffer[]): boolean;
  /** Both sides of the connection have closed. */
  closed(): void;
}

/** Messages of the client after which the server answers at once. */
const ENDS_FLUSH = new Set(["S", "Q", "H", "X", "F"]);

/** One client with its session on the server. */
class LateConnection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #listener: LateConnectionListener;
  #isLoggedIn = false;
  #flush: Buffer[] = [];
  #held: readonly Buffer[] | undefined;
  /** Flushes that the server has not yet answered with a ReadyForQuery. */
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
      socket.on("error", () => {}); // the socket's close is noticed, too
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

  /** Sends the held flush; see `LateFlush`. */
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

  /** Ends the server's session, unless it still needs it for a held copy. */
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

/** The SQLSTATE of an error, with the reason if one of our checks gave it. */
function reasonOf(bytes: Buffer): string {
  const fields = readErrorFields(bytes, 5, bytes.length);
  const reason = /"reason" ?: ?"(\w+)"/.exec(fields.get("M") ?? "")?.[1];
  return [fields.get("C"), reason].filter(Boolean).join(" ");
}
