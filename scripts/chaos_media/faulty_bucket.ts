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
  const { server, options, objects } = dialect === "s3"
    ? await startS3Server().then((server) => ({
      server,
      options: onS3(server),
      objects: openS3Bucket(server.options),
    }))
    : await startGcsServer({ pageSize: 3 }).then((server) => ({
      server,
      options: onGcs(server),
      objects: openGcsBucket(server.options),
    }));
  const inFlight = new Set<Promise<unknown>>();
  const track = <T>(running: Promise<T>): Promise<T> => {
    inFlight.add(running);
    running.finally(() => inFlight.delete(running)).catch(() => {});
    return running;
  };
  const history: { pathname: string; text: string }[] = [];
  const since = () => Math.round(performance.now());
  let percent = 0;
  const faults = faultsOf(random, track);
  const kinds = Object.keys(faults);
  let held: { method: string; isAfter: boolean; take(): void } | undefined;
  const bucket: FaultyBucket = {
    options,
    objects,
    setFaults: (value) => {
      percent = value;
    },
    faults: Object.fromEntries(kinds.map((kind) => [kind, 0])),
    requests: 0,
    historyOf: (name) =>
      history.filter(({ pathname }) => pathname.endsWith(name))
        .map(({ text }) => text).slice(-40).join(", "),
    holdNext: (method, isAfter) =>
      new Promise((take) => {
        held = { method, isAfter, take };
      }),
    quiet: async () => {
      held = undefined;
      while (inFlight.size > 0) await Promise.allSettled(inFlight);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  server.interfere = (
    { method, url: { pathname } }: { method: string; url: URL },
    execute: Answer,
  ) => {
    bucket.requests++;
    const note = (what: string) => {
      history.push({ pathname, text: `${since()} ${method} ${what}` });
      if (history.length > maxNoted) history.shift();
    };
    // The server remembers all requests, which takes too much memory in an
    // hour.
    server.requests.length = 0;
    // The server is a package that leaves about one in ten thousand unanswered.
    const answer: Answer = async () => {
      const reply = await Promise.race([
        execute(),
        pause(10_000, "reset" as const, { ref: false }),
      ]);
      note(typeof reply === "string" ? reply : String(reply.status));
      return reply;
    };
    if (held?.method === method) {
      const { isAfter, take } = held;
      held = undefined;
      note("held");
      const reply = isAfter ? answer() : undefined;
      const effect = reply?.then(take) ?? Promise.resolve(take());
      return track(
        effect.then(() => pause(1000)).then(() => reply ?? answer()),
      );
    }
    const kind = kinds[random.between(0, kinds.length - 1)]!;
    const ms = random.between(20, 300);
    if (!random.chance(percent)) return track(answer());
    bucket.faults[kind]!++;
    note(kind);
    return track(faults[kind]!(answer, ms));
  };
  return bucket;
}
