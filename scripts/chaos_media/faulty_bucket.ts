/**
 * A bucket whose requests fail in every way in which networks and proxies fail.
 */
import { setTimeout as pause } from "node:timers/promises";
import { openGcsBucket } from "../../src/media/gcs.ts";
import type { ObjectStore } from "../../src/media/object_store.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import type { MediaStorageOptions } from "../../src/postgres/media_options.ts";
import { startGcsServer } from "../../tests/support/media/gcs_server.ts";
import { onGcs, onS3 } from "../../tests/support/media/streams.ts";
import type { NoReply, RawReply } from "../../tests/support/media/raw_http.ts";
import { startS3Server } from "../../tests/support/media/s3_server.ts";
import type { Random } from "../../tests/support/random.ts";
import type { Dialect } from "./run.ts";

/** The bucket and the control of its faults. */
export interface FaultyBucket extends AsyncDisposable {
  options: MediaStorageOptions;
  /** Reaches the objects without faults. */
  objects: ObjectStore;
  /** Sets how many of 100 requests fail from now on. */
  setFaults(percent: number): void;
  /** Faults so far, by kind. */
  readonly faults: Record<string, number>;
  requests: number;
  /** Lists the last requests for an object, and their results. */
  historyOf(name: string): string;
  /**
   * Holds the next request of this method for a while, before or after it takes
   * effect. Resolves when it is held.
   */
  holdNext(method: string, isAfter: boolean): Promise<void>;
  /** Resolves when no request is in flight. */
  quiet(): Promise<void>;
}

/** How many requests are remembered: those of several rounds. */
const maxNoted = 2000;

type Answer = () => Promise<RawReply | NoReply>;
type Fault = (answer: Answer, ms: number) => Promise<RawReply | NoReply>;

const page = (status: number): RawReply => ({
  status,
  headers: { "content-type": "text/html", server: "proxy" },
  body: "<html><body><h1>It is us, not them</h1></body></html>",
});

const statuses = [200, 403, 404, 429, 500, 502, 503, 504];

function faultsOf(random: Random, late: (running: Promise<unknown>) => void) {
  const anyPage = () => page(statuses[random.between(0, statuses.length - 1)]!);
  const faults: Record<string, Fault> = {
    before: () => Promise.resolve("reset"),
    after: (answer) => answer().then(() => "reset"),
    slow: (answer, ms) => pause(ms).then(answer),
    hang: (_, ms) => pause(3 * ms).then(() => "reset" as const),
    hangAfter: (answer, ms) =>
      answer().then(() => pause(3 * ms)).then(() => "reset" as const),
    proxy: () => Promise.resolve(anyPage()),
    proxyAfter: (answer) => answer().then(anyPage),
    late: (answer, ms) => {
      late(pause(ms).then(answer).catch(() => {}));
      return Promise.resolve("reset");
    },
    cut: async (answer) => {
      const reply = await answer();
      if (typeof reply === "string") return reply;
      const size = reply.body?.length ?? 0;
      return { ...reply, cut: { after: size >> 1, by: "reset" } };
    },
  };
  return faults;
}

/** Starts the bucket; `random` decides which requests fail. */
export async function startFaultyBucket(
  dialect: Dialect,
  random: Random,
): Promise<FaultyBucket> {
  const { server, options, objects } = await serverOf(dialect);
  const requests = new Requests(random);
  server.interfere = ({ method, url: { pathname } }, execute) => {
    // The server remembers all requests, which takes too much memory in an
    // hour.
    server.requests.length = 0;
    return requests.handle(method, pathname, execute);
  };
  return {
    options,
    objects,
    setFaults: (percent) => {
      requests.percent = percent;
    },
    faults: requests.faults,
    get requests() {
      return requests.count;
    },
    historyOf: (name) => requests.historyOf(name),
    holdNext: (method, isAfter) => requests.holdNext(method, isAfter),
    quiet: () => requests.quiet(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function serverOf(dialect: Dialect) {
  if (dialect === "s3") {
    const server = await startS3Server();
    const objects = openS3Bucket(server.options);
    return { server, options: onS3(server), objects };
  }
  const server = await startGcsServer({ pageSize: 3 });
  const objects = openGcsBucket(server.options);
  return { server, options: onGcs(server), objects };
}

/** What becomes of the bucket's requests. */
class Requests {
  count = 0;
  /** How many of 100 requests fail. */
  percent = 0;
  /** Faults so far, by kind. */
  readonly faults: Record<string, number>;
  readonly #random: Random;
  readonly #kinds: Record<string, Fault>;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #history: { pathname: string; text: string }[] = [];
  #held: { method: string; isAfter: boolean; take(): void } | undefined;

  constructor(random: Random) {
    this.#random = random;
    this.#kinds = faultsOf(random, (running) => this.#track(running));
    this.faults = Object.fromEntries(
      Object.keys(this.#kinds).map((kind) => [kind, 0]),
    );
  }

  handle(
    method: string,
    pathname: string,
    execute: Answer,
  ): Promise<RawReply | NoReply> {
    this.count++;
    const note = (what: string) => this.#note(pathname, `${method} ${what}`);
    // The server is a package that leaves about one in ten thousand unanswered.
    const answer: Answer = async () => {
      const reply = await Promise.race([
        execute(),
        pause(10_000, "reset" as const, { ref: false }),
      ]);
      note(typeof reply === "string" ? reply : String(reply.status));
      return reply;
    };
    if (this.#held?.method === method) {
      note("held");
      return this.#track(this.#hold(answer));
    }
    const kinds = Object.keys(this.#kinds);
    const kind = kinds[this.#random.between(0, kinds.length - 1)]!;
    const ms = this.#random.between(20, 300);
    if (!this.#random.chance(this.percent)) return this.#track(answer());
    this.faults[kind]!++;
    note(kind);
    return this.#track(this.#kinds[kind]!(answer, ms));
  }

  holdNext(method: string, isAfter: boolean): Promise<void> {
    return new Promise((take) => {
      this.#held = { method, isAfter, take };
    });
  }

  async quiet(): Promise<void> {
    this.#held = undefined;
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
  }

  historyOf(name: string): string {
    return this.#history.filter(({ pathname }) => pathname.endsWith(name))
      .map(({ text }) => text).slice(-40).join(", ");
  }

  async #hold(answer: Answer): Promise<RawReply | NoReply> {
    const { isAfter, take } = this.#held!;
    this.#held = undefined;
    const reply = isAfter ? await answer() : undefined;
    take();
    await pause(1000);
    return reply ?? await answer();
  }

  #track<T>(running: Promise<T>): Promise<T> {
    this.#inFlight.add(running);
    running.finally(() => this.#inFlight.delete(running)).catch(() => {});
    return running;
  }

  #note(pathname: string, what: string): void {
    const ms = Math.round(performance.now());
    this.#history.push({ pathname, text: `${ms} ${what}` });
    if (this.#history.length > maxNoted) this.#history.shift();
  }
}
