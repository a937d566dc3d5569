/**
 * Asks all hosts of a store at once which of those that take writes has the
 * highest timeline: the store belongs there (current_server.ts).
 */

import { setTimeout as delay } from "node:timers/promises";
import type { ConnectionTarget } from "./connection_target.ts";
import {
  type Address,
  type CurrentServer,
  factsOf,
  type ServerFacts,
} from "./current_server.ts";
import { type ConnectOptions, connectSession } from "./driver.ts";
import { toStorageError } from "./failures.ts";
import { ConnectionLostError } from "./pg_error.ts";

/** After the first answer, how long to wait for the other hosts. */
const graceMs = 1000;

/** Milliseconds between two surveys while no host takes writes. */
const pauseMs = 250;

/** Asks the hosts of a target, one survey at a time. */
export class HostSurvey {
  readonly #target: ConnectionTarget;
  readonly #options: ConnectOptions;
  readonly #server: CurrentServer;
  #running: Promise<boolean> | undefined;
  #isEnded = false;

  constructor(
    target: ConnectionTarget,
    options: ConnectOptions,
    server: CurrentServer,
  ) {
    this.#target = target;
    this.#options = options;
    this.#server = server;
  }

  /** Whether there are several hosts to choose from, for writes. */
  get isNeeded(): boolean {
    if (this.#isEnded) return false;
    const { sessionAttrs, hosts } = this.#target;
    return sessionAttrs === "read-write" && hosts.length > 1;
  }

  /**
   * There is no choice any more: the hosts are servers of a cluster, of which only
   * one has the schema (cluster/home.ts).
   */
  end(): void {
    this.#isEnded = true;
  }

  /** Asks all hosts; returns whether one takes writes. Never rejects. */
  ask(): Promise<boolean> {
    this.#running ??= this.#ask().finally(() => this.#running = undefined);
    return this.#running;
  }

  /**
   * Runs the body at the best host, and again if its server goes away or while
   * there is none, for a limited number of milliseconds.
   *
   * @throws What the body throws; the signal's reason; `ConnectionLostError`:
   *   no host takes writes.
   */
  async reach<T>(
    { withinMs, signal }: {
      withinMs: number;
      signal?: AbortSignal | undefined;
    },
    body: () => Promise<T>,
  ): Promise<T> {
    if (!this.isNeeded) return await body();
    const deadline = performance.now() + withinMs;
    for (;;) {
      signal?.throwIfAborted();
      try {
        if (!this.isNeeded || await this.ask()) return await body();
        throw new ConnectionLostError(
          "Expected a host that takes writes",
          false,
        );
      } catch (error) {
        const isPassing = toStorageError(error).code === "UNAVAILABLE";
        if (!isPassing || performance.now() > deadline) throw error;
      }
      await delay(pauseMs, undefined, signal ? { signal } : {});
    }
  }

  async #ask(): Promise<boolean> {
    const answers: { address: Address; facts: ServerFacts }[] = [];
    const graceOver = Promise.withResolvers<void>();
    let grace: ReturnType<typeof setTimeout> | undefined;
    const asked = this.#target.hosts.map(async (address) => {
      const facts = await this.#factsAt(address).catch(() => undefined);
      if (!facts?.takesWrites) return;
      answers.push({ address, facts });
      grace ??= setTimeout(graceOver.resolve, graceMs);
    });
    await Promise.race([graceOver.promise, Promise.all(asked)]);
    clearTimeout(grace);
    answers.sort((a, b) => (b.facts.timeline ?? 0) - (a.facts.timeline ?? 0));
    for (const { address, facts } of answers) {
      try {
        this.#server.follow(facts, address);
        return true;
      } catch {
        // An old primary, or another cluster.
      }
    }
    return false;
  }

  async #factsAt(address: Address): Promise<ServerFacts> {
    const target: ConnectionTarget = {
      ...this.#target,
      hosts: [address],
      sessionAttrs: "any",
    };
    const { server: _, ...options } = this.#options;
    const session = await connectSession(target, {}, options);
    try {
      return await factsOf(session);
    } finally {
      session.destroy("It was only asked which server it has reached");
    }
  }
}
