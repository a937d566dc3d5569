/**
 * Requests that a network or a proxy holds back. The client's connection breaks
 * or hangs, and the request reaches the server when a test says so.
 */
import type { NoReply, RawReply, RawRequest } from "./raw_http.ts";

/** A request that the server has not received yet. */
export interface HeldRequest {
  request: RawRequest;
  /** Gives the request to the server. */
  deliver(): Promise<RawReply>;
  /** Breaks the connection of the client, which has hung so far. */
  disconnect(): void;
}

/** Which requests are held back, and how. */
export interface Holding {
  fits(request: RawRequest): boolean;
  /** The number of requests; default 1. */
  times?: number;
  /** What the client sees; by default a reset connection. */
  client?: NoReply;
}

/** Executes a request on the server. */
export type Execute = (request: RawRequest) => Promise<RawReply>;

/** Holds requests back in front of a server. */
export class HeldRequests {
  readonly #execute: Execute;
  readonly #holdings: (Holding & { left: number; take: Take })[] = [];

  constructor(execute: Execute) {
    this.#execute = execute;
  }

  /** Holds back requests that fit; resolves with the first one. */
  hold(holding: Holding): Promise<HeldRequest> {
    const { promise, resolve } = Promise.withResolvers<HeldRequest>();
    this.#holdings.push({
      ...holding,
      left: holding.times ?? 1,
      take: resolve,
    });
    return promise;
  }

  /** What the client gets if the request is held back; else undefined. */
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
