/**
 * Many streams, each with an actor that writes and reads it at a moderate pace,
 * because the effects of a failover show only if there is time between calls. A
 * caller sees a lost commit as the refusal of a valid call. After such a
 * refusal, the writers of `deno task crash` stop, but these actors read the
 * stream and continue from what they find.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  isStreamStorageError,
  type StreamId,
  type StreamStorage,
} from "../../mod.ts";
import type { Outcome } from "../crash/ledger.ts";
import {
  applied,
  type Operation,
  perform,
  type State,
} from "../crash/operation.ts";
import { Payloads } from "../crash/payload.ts";
import { readState, streamOf } from "../crash/streams.ts";
import { type Mix, ValidCalls } from "../crash/valid_calls.ts";
import { Random } from "../../tests/support/random.ts";
import type { Account } from "./account.ts";
import type { FailoverLedger } from "./ledger.ts";

/**
 * Payloads of up to half a kilobyte, because the servers' speed is not tested
 * here.
 */
export class SmallPayloads extends Payloads {
  override bytes(id: number): Uint8Array {
    return super.bytes(id).slice(0, 512);
  }
}

/** What a {@linkcode Load} needs. */
export interface LoadOptions {
  storage: StreamStorage;
  seed: string;
  streams: number;
  ledger: FailoverLedger;
  account: Account;
}

/** The lowest id of a payload. The probes use lower ones. */
const firstId = 1000;
/** The pause between two calls of an actor, in milliseconds. */
const paceMs = 100;

const mix: Mix = {
  deletions: 4,
  longBlocks: 20,
  swaps: 35,
  candidates: 15,
  lastChunk: 12,
  atOnce: { blocks: 1, candidates: 1, events: 3, chunks: 1 },
};

/** No upload is sealed here, so the id says it without a call that may fail. */
const isUpload = (stream: StreamId) => stream.startsWith("ff");

/** Actors at work; see the file's head. */
export class Load {
  readonly #options: LoadOptions;
  readonly #payloads: Payloads;
  readonly #random: Random;
  readonly #calls: ValidCalls;
  #storage: StreamStorage;
  #isPaused = true;
  #isStopped = false;
  #working = 0;
  #onIdle: (() => void) | undefined;
  readonly #actors: Promise<void>[];

  /** Starts the actors; they wait for {@linkcode resume}. */
  constructor(options: LoadOptions) {
    this.#options = options;
    this.#storage = options.storage;
    this.#payloads = new SmallPayloads(options.seed);
    this.#random = new Random(`${options.seed}:load`);
    this.#calls = new ValidCalls(this.#random, firstId, mix);
    this.#actors = Array.from(
      { length: options.streams },
      (_, nth) => this.#act(streamOf(nth, 8)),
    );
  }

  /** Calls go to this store from now on. */
  use(storage: StreamStorage): void {
    this.#storage = storage;
  }

  /** Lets the actors work. */
  resume(): void {
    this.#isPaused = false;
    this.#options.account.run(true);
  }

  /** Makes the actors wait. Resolves when no call is in flight. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    if (this.#working > 0) {
      await new Promise<void>((resolve) => this.#onIdle = resolve);
    }
    this.#options.account.run(false);
  }

  /** Ends the actors after their calls in flight. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#actors);
  }

  async #act(stream: StreamId): Promise<void> {
    let known: { state: State } | undefined;
    while (!this.#isStopped) {
      await delay(this.#random.between(0, 2 * paceMs));
      if (this.#isPaused || this.#isStopped) continue;
      this.#working++;
      try {
        if (known === undefined || this.#random.chance(35)) {
          known = await this.#look(stream);
        } else {
          known = await this.#write(
            known.state,
            this.#calls.next(stream, known.state),
          );
        }
      } finally {
        if (--this.#working === 0) this.#onIdle?.();
      }
    }
  }

  /**
   * Makes the calls at once. Resolves with the state after them, if it is
   * certain.
   */
  async #write(
    before: State,
    operations: readonly Operation[],
  ): Promise<{ state: State } | undefined> {
    const outcomes = await Promise.all(
      operations.map((operation, nth) => this.#call(operation, nth === 0)),
    );
    let state = before;
    for (const [i, outcome] of outcomes.entries()) {
      const next = applied(state, operations[i]!);
      if (outcome !== "acknowledged" || next === "refused") return undefined;
      state = next;
    }
    return { state };
  }

  async #call(operation: Operation, isDue: boolean): Promise<Outcome> {
    const { ledger, account } = this.#options;
    const call = this.#calls.nextId();
    const started = performance.now();
    const end = (outcome: Outcome, failure?: string) => {
      ledger.end(call, outcome);
      account.wrote(started, outcome, failure);
      return outcome;
    };
    ledger.begin(call, operation);
    try {
      await perform(this.#storage, this.#payloads, operation);
      return end("acknowledged");
    } catch (error) {
      if (!isStreamStorageError(error)) throw error;
      const outcome = error.outcome === "unknown" ? "unknown" : "failed";
      const failure = describe(error);
      // A store that another one has replaced must refuse.
      const isReplaced = failure.endsWith("ownership_lost");
      const isFinal = !error.retryable && outcome === "failed";
      if (isDue && isFinal && !isReplaced) {
        account.refused.push(`${operation.kind}: ${failure}`);
      }
      return end(outcome, outcome === "unknown" ? `${failure} ?` : failure);
    }
  }

  async #look(stream: StreamId): Promise<{ state: State } | undefined> {
    const { ledger, account } = this.#options;
    const started = performance.now();
    try {
      const state = await readState(
        this.#storage,
        stream,
        this.#payloads,
        isUpload,
      );
      account.read(started);
      ledger.look(stream, state);
      return { state };
    } catch (error) {
      if (!isStreamStorageError(error)) {
        ledger.findings.broken.push(String(error));
      }
      account.read(started, describe(error));
      return undefined;
    }
  }
}

/** Describes an error by its code, and its reason if there is one. */
export function describe(error: unknown): string {
  if (!isStreamStorageError(error)) return String(error);
  const { reason } = error.details as { reason?: unknown };
  return reason === undefined ? error.code : `${error.code} ${reason}`;
}
