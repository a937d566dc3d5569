/**
 * Requests that a network or a proxy holds back: the client's connection
 * breaks, or hangs, and the request reaches the server when a test says so.
 */
import type { NoReply, RawReply, RawRequest } from "./raw_http.ts";

/** A request that the server has not seen yet. */
export interface HeldRequest {
  request: RawRequest;
  /** The server gets it now. */
  deliver(): Promise<RawReply>;
  /** Its client, which has hung so far, loses the connection. */
  disconnect(): void;
}

/** How requests are held back. */
export interface Holding {
  fits(request: RawRequest): boolean;
  /** How many of them; default 1. */
  times?: number;
  /** What the client sees; default a reset connection. */
  client?: NoReply;
}

/** The server's own execution. */
export type Execute = (request: RawRequest) => Promise<RawReply>;

/** Holds requests back before a server. */
export class HeldRequests {
  readonly #execute: Execute;
  readonly #holdings: (Holding & { left: number; take: Take })[] = [];

  constructor(execute: Execute) {
    this.#execute = execute;
  }

  /** Holds back what fits; resolves with the first of it. */
  hold(holding: Holding): Promise<HeldRequest> {
    const { promise, resolve } = Promise.withResolvers<HeldRequest>();
    this.#holdings.push({
      ...holding,
      left: holding.times ?? 1,
      take: resolve,
    });
    return promise;
  }

  /** What the client of a request gets that is held back. */
  intercept(request: RawRequest): Promise<NoReply> | undefined {
    const holding = this.#holdings.find(({ left, fits }) =>
      left > 0 && fits(request)
    );
    if (holding === undefined) return undefined;
    holding.left--;
    const { promise, resolve } = Promise.withResolvers<NoReply>();
    const disconnect = () => resolve("reset");
    if (holding.client !== "hang") disconnect();
    const deliver = () => this.#execute(request);
    holding.take({ request, deliver, disconnect });
    return promise;
  }
}

type Take = (held: HeldRequest) => void;
