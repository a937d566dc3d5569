/**
 * A store as its writers see it, and what is noticed on the way: how long calls
 * take, how long nothing is acknowledged, what is refused that was due. Now and
 * then a stream is read before it is written, so that a store that reads on one
 * server and writes on another is found out.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  isStreamStorageError,
  type StreamId,
  type StreamStorage,
  StreamStorageError,
} from "../../../mod.ts";
import { imageOf, type State } from "../../crash/operation.ts";
import type { Payloads } from "../../crash/payload.ts";
import { Random } from "../../demo/random.ts";
import type { LossLedger } from "./loss_ledger.ts";

/** What a writer waits at most between two writes, in ms. */
const paceMs = 100;

/**
 * So many writes of 100 are preceded by a read. Of the pieces of an upload each
 * is accepted without the others, so only reads tell which are there.
 */
const readPercent = 20;
const readPercentOfUploads = 60;

/** Before a call is made again that was refused. */
const pauseMs = 100;

const writes: ReadonlySet<string | symbol> = new Set<keyof StreamStorage>([
  "createStreamStorage",
  "deleteStream",
  "writeEphemeralMiniblock",
  "writeEvent",
  "writeMiniblockCandidate",
  "writeMiniblocks",
]);
const reads: ReadonlySet<string | symbol> = new Set<keyof StreamStorage>([
  "debugReadStreamData",
  "isStreamEphemeral",
]);

/** What is noticed. */
export class Observations {
  acknowledged = 0;
  failed = 0;
  unknown = 0;
  longestStallMs = 0;
  /** The call that took the longest. */
  slowest = "";
  longestGapMs = 0;
  /** Refused for good, though they were due, with the errors. */
  readonly refusals: string[] = [];
  #lastAt = performance.now();

  /** The gap before it counts from now on. */
  begin(): void {
    this.#lastAt = performance.now();
  }

  /** The gap behind the last write ends, whatever ends it. */
  closeGap(): void {
    const now = performance.now();
    this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastAt);
    this.#lastAt = now;
  }

  /** A call has ended that was made at that time. */
  took(started: number, name: string): void {
    const ms = performance.now() - started;
    if (ms <= this.longestStallMs) return;
    this.longestStallMs = ms;
    this.slowest = name;
  }
}

/** The calls of one stream that are under way, made at the same time. */
interface Batch {
  /** Over when they may be made. */
  turn: Promise<void>;
  left: number;
  /** One of them was not acknowledged, so a later one may be refused. */
  isBroken: boolean;
}

type Call = (stream: StreamId, ...rest: unknown[]) => Promise<unknown>;

/** See the file's head. */
export class WatchedStorage {
  /** For the writers. */
  readonly storage: StreamStorage;
  readonly #inner: StreamStorage;
  readonly #ledger: LossLedger;
  readonly #payloads: Payloads;
  readonly #random: Random;
  readonly #observations: Observations;
  readonly #batches = new Map<StreamId, Batch>();
  #isEnding = false;

  /** Watches a store until {@linkcode end}. */
  constructor(options: {
    storage: StreamStorage;
    ledger: LossLedger;
    payloads: Payloads;
    seed: string;
    observations: Observations;
  }) {
    this.#inner = options.storage;
    this.#ledger = options.ledger;
    this.#payloads = options.payloads;
    this.#random = new Random(`${options.seed}:watch`);
    this.#observations = options.observations;
    this.storage = new Proxy(options.storage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        const call = value.bind(target) as Call;
        if (writes.has(name)) {
          return (stream: StreamId, ...rest: unknown[]) =>
            this.#write(String(name), stream, () => call(stream, ...rest));
        }
        if (reads.has(name)) {
          return (stream: StreamId) =>
            this.#read(String(name), () => call(stream));
        }
        return call;
      },
    });
  }

  /** The writers are to stop, so they get errors as they are. */
  end(): void {
    this.#isEnding = true;
  }

  async #write(
    name: string,
    stream: StreamId,
    call: () => Promise<unknown>,
  ): Promise<unknown> {
    const batch = this.#enter(stream);
    const observations = this.#observations;
    await batch.turn;
    const started = performance.now();
    try {
      const result = await call();
      observations.acknowledged++;
      observations.closeGap();
      return result;
    } catch (error) {
      if (!isStreamStorageError(error)) throw error;
      const { retryable, outcome } = error;
      observations[outcome === "unknown" ? "unknown" : "failed"]++;
      if (!retryable && !batch.isBroken) {
        observations.refusals.push(`${stream}: ${described(error)}`);
      }
      batch.isBroken = true;
      throw await this.#softened(error);
    } finally {
      observations.took(started, name);
      if (--batch.left === 0) this.#batches.delete(stream);
    }
  }

  async #read(
    name: string,
    call: () => Promise<unknown>,
  ): Promise<unknown> {
    try {
      return await this.#timed(name, call);
    } catch (error) {
      // That there is no stream is an answer.
      if (!isStreamStorageError(error) || error.code === "NOT_FOUND") {
        throw error;
      }
      throw await this.#softened(error);
    }
  }

  async #timed<T>(name: string, call: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await call();
    } finally {
      this.#observations.took(started, name);
    }
  }

  /** The writers look at the stream again, whatever was refused. */
  async #softened(error: StreamStorageError): Promise<StreamStorageError> {
    await delay(pauseMs);
    if (error.retryable || this.#isEnding) return error;
    const { code, message, operation, details, outcome } = error;
    return new StreamStorageError({
      ...{ code, message, operation, details, outcome, cause: error },
      retryable: true,
    });
  }

  #enter(stream: StreamId): Batch {
    let batch = this.#batches.get(stream);
    if (batch === undefined) {
      const percent = stream.startsWith("ff")
        ? readPercentOfUploads
        : readPercent;
      const turn = this.#random.chance(percent)
        ? this.#look(stream)
        : delay(this.#random.between(0, paceMs));
      batch = { turn, left: 0, isBroken: false };
      this.#batches.set(stream, batch);
    }
    batch.left++;
    return batch;
  }

  /** A failure tells nothing, and the write will say the same. */
  async #look(stream: StreamId): Promise<void> {
    const found = this.#ledger.beginRead(stream);
    try {
      found(await this.#state(stream));
    } catch (error) {
      if (!isStreamStorageError(error)) throw error;
    }
  }

  async #state(stream: StreamId): Promise<State> {
    try {
      const stored = await this.#timed(
        "debugReadStreamData",
        () => this.#inner.debugReadStreamData(stream),
      );
      const ephemeral = await this.#timed(
        "isStreamEphemeral",
        () => this.#inner.isStreamEphemeral(stream),
      );
      return imageOf({ ...stored, ephemeral }, this.#payloads);
    } catch (error) {
      if (isStreamStorageError(error, "NOT_FOUND")) return undefined;
      throw error;
    }
  }
}

function described(error: StreamStorageError): string {
  const { code, operation, details, message } = error;
  return `${operation} ${code} ${plain(details)} ${message}`;
}

function plain(details: Record<string, unknown>): string {
  return JSON.stringify(
    details,
    (_, value) => typeof value === "bigint" ? String(value) : value,
  );
}
