/**
 * A proxy in front of a PostgreSQL server. It counts messages, and can break the
 * connection at an exact message.
 *
 * ```ts
 * await using proxy = await startProxy(await testDatabaseUrl());
 * await using test = await openTestStorage({ url: proxy.url });
 * proxy.cutAt({ side: "backend", nth: 3, when: "before" });
 * await test.storage.writeEvent(id, 1n, 0, envelope); // is retried
 * await proxy.settled(); // the server has ended the session that was cut
 * ```
 *
 * It forwards only whole messages, so a cut never falls inside one. TLS is off:
 * the URL contains `sslmode=disable`. A rule sees the messages after each
 * connection's login, in the order in which they pass. For faults of the login
 * use `refuse` and `silence`.
 */

import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { parseConnectionUrl } from "../../../src/database/connection_target.ts";
import { portOf, throughPort } from "./listener.ts";
import { ProxiedConnection } from "./proxied_connection.ts";

/** The sender of a message: the client is the frontend, the server the backend. */
export type Side = "frontend" | "backend";

/** A message after its connection's login. */
export interface WireMessage {
  side: Side;
  /** The protocol's letter: `P`arse, `B`ind, `S`ync, `Z` ready for query, … */
  type: string;
  /** The whole message, valid only while the rule runs. */
  bytes: Buffer;
  /** The number of the connection, from 1. */
  connection: number;
  /** The number of this side's message since the rule was set, from 1. */
  nth: number;
}

/**
 * What happens to a message. `cut-before` delivers all earlier messages and
 * closes both sides; `cut-after` delivers the message, too. `swallow` drops it. A
 * delay, or a promise to wait for, also holds up the later messages of its side.
 */
export type Verdict =
  | "forward"
  | "cut-before"
  | "cut-after"
  | "swallow"
  | { delayMs: number }
  | { until: Promise<unknown> };

/** Decides about each message. */
export type Rule = (message: WireMessage) => Verdict;

/** Counts since the last `resetCounts`. */
export interface ProxyCounts {
  /** Attempts to connect, including refused ones. */
  attempts: number;
  /** Changes from the client's messages to the server's. */
  roundTrips: number;
  /** Syncs and simple queries, which the server answers with a `Z`. */
  syncs: number;
  /** Messages by side and letter. */
  messages: Record<Side, Record<string, number>>;
}

/** A running proxy. */
export interface Proxy extends AsyncDisposable {
  /** The server's URL through this proxy. */
  readonly url: string;
  /** The number of open connections to clients. */
  readonly open: number;
  readonly counts: ProxyCounts;
  resetCounts(): void;
  /** Sets the rule for messages; `nth` starts again from 1. */
  setRule(rule: Rule | undefined): void;
  /**
   * Cuts one connection at the nth message of a side from now on, or at the nth
   * message with a letter. Resolves after the cut.
   */
  cutAt(
    at: {
      side: Side;
      nth: number;
      when: "before" | "after";
      type?: string;
    },
  ): Promise<void>;
  /** Cuts every connection now. */
  cutAll(): void;
  /** Whether new connections are closed at once. */
  refuse(isOn: boolean): void;
  /**
   * Whether every message is dropped, as behind a dead router. Connections stay
   * open; those that were open meanwhile stay silent for ever.
   */
  silence(isOn: boolean): void;
  /** Resolves when the server has ended all sessions whose clients are gone. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy on a free port of the loopback address. */
export async function startProxy(url: string): Promise<Proxy> {
  const server = createServer({ noDelay: true, allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new RunningProxy(url, server);
}

class RunningProxy implements Proxy {
  readonly url: string;
  readonly #server: Server;
  readonly #target: { host: string; port: number };
  readonly #connections = new Set<ProxiedConnection>();
  #counts = noCounts();
  #rule: Rule | undefined;
  #nth: Record<Side, number> = { frontend: 0, backend: 0 };
  #refusing = false;
  #silent = false;
  #made = 0;
  #onSettled: (() => void)[] = [];

  constructor(url: string, server: Server) {
    this.#target = parseConnectionUrl(url).hosts[0]!;
    this.url = throughPort(url, portOf(server));
    this.#server = server;
    server.on("connection", (client) => this.#accept(client));
  }

  get open(): number {
    let open = 0;
    for (const connection of this.#connections) open += +connection.isOpen;
    return open;
  }

  get counts(): ProxyCounts {
    return this.#counts;
  }

  resetCounts(): void {
    this.#counts = noCounts();
  }

  setRule(rule: Rule | undefined): void {
    this.#rule = rule;
    this.#nth = { frontend: 0, backend: 0 };
  }

  cutAt(at: Parameters<Proxy["cutAt"]>[0]): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let seen = 0;
    this.setRule(({ side, type }) => {
      const isOne = side === at.side && type === (at.type ?? type);
      if (!isOne || ++seen !== at.nth) return "forward";
      resolve();
      return at.when === "before" ? "cut-before" : "cut-after";
    });
    return promise;
  }

  cutAll(): void {
    for (const connection of this.#connections) connection.cut();
  }

  refuse(isOn: boolean): void {
    this.#refusing = isOn;
  }

  silence(isOn: boolean): void {
    this.#silent = isOn;
    if (!isOn) return;
    for (const connection of this.#connections) connection.mute();
  }

  settled(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onSettled.push(resolve);
    this.#checkSettled();
    return promise;
  }

  async close(): Promise<void> {
    this.#refusing = true;
    for (const connection of this.#connections) connection.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(client: Socket): void {
    this.#counts.attempts++;
    client.on("error", () => {}); // the socket's close is noticed, too
    if (this.#refusing) {
      client.destroy();
      return;
    }
    const { host, port } = this.#target;
    const upstream = connect({
      host,
      port,
      noDelay: true,
      allowHalfOpen: true,
    });
    const connection = new ProxiedConnection(client, upstream, {
      number: ++this.#made,
      verdict: (message) => this.#judge(message),
      seen: (side, type, isAnswer) => this.#count(side, type, isAnswer),
      closed: () => {
        if (connection.isGone) this.#connections.delete(connection);
        this.#checkSettled();
      },
    });
    this.#connections.add(connection);
    if (this.#silent) connection.mute();
  }

  #judge(message: Omit<WireMessage, "nth">): Verdict {
    const nth = ++this.#nth[message.side];
    return this.#rule?.({ ...message, nth }) ?? "forward";
  }

  #count(side: Side, type: string, isAnswer: boolean): void {
    const { messages } = this.#counts;
    messages[side][type] = (messages[side][type] ?? 0) + 1;
    if (isAnswer) this.#counts.roundTrips++;
    if (side === "frontend" && (type === "S" || type === "Q")) {
      this.#counts.syncs++;
    }
  }

  #checkSettled(): void {
    for (const connection of this.#connections) if (connection.isEnding) return;
    for (const resolve of this.#onSettled.splice(0)) resolve();
  }
}

function noCounts(): ProxyCounts {
  return {
    attempts: 0,
    roundTrips: 0,
    syncs: 0,
    messages: { frontend: {}, backend: {} },
  };
}
