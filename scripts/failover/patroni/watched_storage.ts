/**
 * Forwards the writers' calls to a store, and observes them: how long calls
 * take, how long the store acknowledges nothing, which valid calls it refuses.
 * Sometimes it reads a stream before a write, which shows a store that reads on
 * one server and writes on another.
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
import { Random } from "../../../tests/support/random.ts";
import type { LossLedger } from "./loss_ledger.ts";

/** The longest pause of a writer between two writes, in milliseconds. */
const paceMs = 100;

/**
 * How many of 100 writes follow a read. The store accepts each piece of an
 * upload without the others, so only reads show which pieces are stored.
 */
const readPercent = 20;
const readPercentOfUploads = 60;

/** The pause before a refused call is made again. */
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

/** What the calls have shown. */
export class Observations {
  acknowledged = 0;
  failed = 0;
  unknown = 0;
  longestStallMs = 0;
  /** The slowest call. */
  slowest = "";
  longestGapMs = 0;
  /** Valid calls that the store has refused for good, with their errors. */
  readonly refusals: string[] = [];
  #lastAt = performance.now();

  /** Begins to measure gaps from now on. */
  begin(): void {
    this.#lastAt = performance.now();
  }

  /** Ends the gap after the last write. */
  closeGap(): void {
    const now = performance.now();
    this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastAt);
    this.#lastAt = now;
  }

  /** Records that a call has ended, which began at that time. */
  took(started: number, name: string): void {
    const ms = performance.now() - started;
    if (ms <= this.longestStallMs) return;
    this.longestStallMs = ms;
    this.slowest = name;
  }
}

/** Calls of one stream in flight that were made at the same time. */
interface Batch {
  /** Resolves when the calls may be made. */
  turn: Promise<void>;
  left: number;
  /**
   * Whether one of them was not acknowledged, so that a later one may be
   * refused.
   */
  isBroken: boolean;
}

type Call = (stream: StreamId, ...rest: unknown[]) => Promise<unknown>;

/** See the file's head. */
export class WatchedStorage {
  /** The storage for the writers. */
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

  /**
   * Ends the watch: the writers should stop, so they get errors as they are.
   */
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
      // A missing stream is a valid answer.
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

  /**
   * Makes an error that lets the writers read the stream again after a refusal.
   */
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

  /**
   * Reads the stream. A failure is ignored, because the write will fail, too.
   */
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
