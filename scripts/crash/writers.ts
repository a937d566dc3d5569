/** The load: many streams, each with an actor that writes it. */
import {
  isStreamStorageError,
  type StreamId,
  type StreamStorage,
} from "../../mod.ts";
import { Random } from "../../tests/support/random.ts";
import { BrokenPromise, type Outcome } from "./ledger.ts";
import { applied, type Operation, perform, type State } from "./operation.ts";
import { Payloads } from "./payload.ts";
import { readState, streamOf } from "./streams.ts";
import { type Mix, ValidCalls } from "./valid_calls.ts";

const mix: Mix = {
  deletions: 2,
  longBlocks: 30,
  swaps: 25,
  candidates: 20,
  lastChunk: 16,
  atOnce: { blocks: 4, candidates: 4, events: 4, chunks: 4 },
};

/** Called before each call and after it has ended. */
export interface WritersListener {
  begin(call: number, operation: Operation): void;
  end(call: number, outcome: Outcome, ms: number): void;
  /** A writer has read its stream, to see which calls took effect. */
  observed(stream: StreamId, state: State): void;
  /** The store has done something that it must not do. */
  broken(error: unknown): void;
}

/** What the actors write. */
export interface WritersOptions {
  storage: StreamStorage;
  seed: string;
  /** Streams that are written at the same time. */
  streams: number;
  /** The number of the first call and payload. */
  firstId: number;
  listener: WritersListener;
}

/** Actors that write until `stop` is called. */
export class Writers {
  readonly #options: WritersOptions;
  readonly #payloads: Payloads;
  readonly #calls: ValidCalls;
  #gate = Promise.withResolvers<void>();
  #isOpen = false;
  #isStopped = false;
  #working = 0;
  #onIdle: (() => void) | undefined;
  readonly #actors: Promise<void>[];

  /** Starts the actors; they wait for {@linkcode resume}. */
  constructor(options: WritersOptions) {
    this.#options = options;
    this.#payloads = new Payloads(options.seed);
    const random = new Random(`${options.seed}:${options.firstId}`);
    this.#calls = new ValidCalls(random, options.firstId, mix);
    this.#actors = Array.from(
      { length: options.streams },
      (_, nth) => this.#act(streamOf(nth, 4)),
    );
  }

  /** Lets the actors write. */
  resume(): void {
    this.#isOpen = true;
    this.#gate.resolve();
  }

  /** Makes the actors wait. Resolves when no call is in flight. */
  async pause(): Promise<void> {
    if (this.#isOpen) this.#gate = Promise.withResolvers<void>();
    this.#isOpen = false;
    if (this.#working > 0) {
      await new Promise<void>((resolve) => this.#onIdle = resolve);
    }
  }

  /** Ends the actors after their calls in flight. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.resume();
    await Promise.all(this.#actors);
  }

  async #act(stream: StreamId): Promise<void> {
    try {
      let known: { state: State } | undefined;
      for (;;) {
        await this.#gate.promise;
        if (this.#isStopped) return;
        this.#working++;
        try {
          const state = known ? known.state : await this.#look(stream);
          known = await this.#write(state, this.#calls.next(stream, state));
        } finally {
          if (--this.#working === 0) this.#onIdle?.();
        }
      }
    } catch (error) {
      this.#options.listener.broken(error);
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
      operations.map((operation) => this.#call(operation)),
    );
    let state = before;
    for (const [i, { outcome, refusal }] of outcomes.entries()) {
      if (outcome !== "acknowledged") {
        // All calls were valid, so the store may refuse only one after a failed
        // one.
        if (refusal === undefined || i > 0) return undefined;
        throw new BrokenPromise(`A valid call was refused: ${refusal}`);
      }
      const next = applied(state, operations[i]!);
      if (next === "refused") throw new Error("Expected a valid call");
      state = next;
    }
    return { state };
  }

  async #call(
    operation: Operation,
  ): Promise<{ outcome: Outcome; refusal?: unknown }> {
    const { storage, listener } = this.#options;
    const call = this.#calls.nextId();
    const started = performance.now();
    const end = (outcome: Outcome) =>
      listener.end(call, outcome, performance.now() - started);
    listener.begin(call, operation);
    try {
      await perform(storage, this.#payloads, operation);
      end("acknowledged");
      return { outcome: "acknowledged" };
    } catch (error) {
      if (!isStreamStorageError(error)) throw error;
      const { retryable, outcome: reported } = error;
      const outcome = reported === "unknown" ? "unknown" : "failed";
      end(outcome);
      return { outcome, ...(retryable ? {} : { refusal: error }) };
    }
  }

  /**
   * Reads the stream, again and again if that fails, until the writers stop.
   */
  async #look(stream: StreamId): Promise<State> {
    const { storage, listener } = this.#options;
    for (;;) {
      try {
        const state = await readState(
          storage,
          stream,
          this.#payloads,
          (stream) => storage.isStreamEphemeral(stream),
        );
        listener.observed(stream, state);
        return state;
      } catch (error) {
        const isRetryable = isStreamStorageError(error) && error.retryable;
        if (!isRetryable || this.#isStopped) throw error;
      }
    }
  }
}
