/**
 * How many bytes wait in the minipools that this process writes to.
 *
 * An event is admitted without a look at the tables only if it cannot exceed the
 * limit, whatever becomes of the writes before it. Two reasons admit it:
 *
 * - Its slot is 0. The storage accepts it only into an empty minipool.
 * - The bytes of its generation are known, and they fit together with the bytes
 *   of every write that was submitted before it and has not ended yet.
 *
 * Only facts make bytes known: an event was committed at slot 0, or behind a
 * look in its own turn, or on top of known bytes; a swap or a creation was
 * committed. A write that was refused, or failed, tells nothing of what is
 * stored, so it leaves what is known as it is; one whose outcome is unknown ends
 * it. An assumption in place of these (a minipool must be empty, since somebody
 * writes its slot 0) would let the minipool grow far beyond the limit as soon as
 * the write that it was taken from is refused.
 *
 * The writes of a stream end in the order in which they were submitted. So bytes
 * are counted as they are submitted, and each write is a stretch of that count:
 * once a write is committed, everything up to its end has ended.
 */

import { isStreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { BoundedMap } from "./bounded_map.ts";

/** How a {@linkcode MinipoolBytes} counts. */
export interface MinipoolBytesOptions {
  limit: number;
  /** Streams that are remembered at most. */
  maxStreams: number;
  /** Throws when so many bytes are too many. */
  check(streamId: StreamId, bytes: number): void;
  /** A minipool has grown, from so many bytes to so many. */
  grown(streamId: StreamId, before: number, bytes: number): void;
}

/** What is known of a stream's minipool, and what is under way. */
interface Minipool {
  readonly streamId: StreamId;
  readonly era: Era;
  generation: bigint;
  /** The bytes of that generation; undefined: not known. */
  stored: number | undefined;
  /** All bytes that were ever submitted. */
  submitted: number;
  /** So many of them, from the first on, belong to writes that have ended. */
  ended: number;
}

/** Ends when everything is forgotten. */
interface Era {
  isOver: boolean;
}

/** An event that is about to be written. */
export interface SizedEvent {
  generation: bigint;
  slot: number;
  envelope: Uint8Array;
}

/** An event's way through the count. */
export interface CountedEvent {
  /**
   * Whether it fits, whatever becomes of the writes before it. May become true
   * while it waits for its turn, and stays so.
   */
  readonly fits: boolean;
  /** In its turn, with what is stored: throws when it does not fit. */
  check(stored: number): void;
  /** Its write was committed. */
  done(): void;
  /** Its write was not, as far as the error tells. */
  failed(error: unknown): void;
}

/** Counts the bytes of minipools; see the file's head. */
export class MinipoolBytes {
  readonly #options: MinipoolBytesOptions;
  readonly #minipools: BoundedMap<StreamId, Minipool>;
  #era: Era = { isOver: false };

  constructor(options: MinipoolBytesOptions) {
    this.#options = options;
    this.#minipools = new BoundedMap(options.maxStreams);
  }

  /** An event is about to be submitted; nothing may be awaited before it is. */
  enter(streamId: StreamId, event: SizedEvent): CountedEvent {
    return new QueuedBytes(this.#of(streamId), event, this.#options);
  }

  /**
   * A write that begins a minipool with these events is about to be submitted.
   * Returns the function to be called once it is committed.
   */
  begins(
    streamId: StreamId,
    { generation, envelopes }: {
      generation: bigint;
      envelopes: readonly Uint8Array[];
    },
  ): () => void {
    const minipool = this.#of(streamId);
    const bytes = envelopes.reduce((sum, { length }) => sum + length, 0);
    const end = minipool.submitted += bytes;
    return () => {
      endUpTo(minipool, end);
      minipool.generation = generation;
      minipool.stored = bytes;
    };
  }

  /** The stream may be another one. What is under way still counts. */
  forget(streamId: StreamId): void {
    const minipool = this.#minipools.get(streamId);
    if (minipool !== undefined) minipool.stored = undefined;
  }

  /** The tables may have lost what was committed. */
  forgetAll(): void {
    this.#era.isOver = true;
    this.#era = { isOver: false };
    this.#minipools.clear();
  }

  #of(streamId: StreamId): Minipool {
    let minipool = this.#minipools.get(streamId);
    if (minipool === undefined) {
      minipool = {
        streamId,
        era: this.#era,
        generation: 0n,
        stored: undefined,
        submitted: 0,
        ended: 0,
      };
      this.#minipools.set(streamId, minipool);
    }
    return minipool;
  }
}

/** Everything that was submitted up to there has ended. */
function endUpTo(minipool: Minipool, end: number): void {
  minipool.ended = Math.max(minipool.ended, end);
}

class QueuedBytes implements CountedEvent {
  readonly #minipool: Minipool;
  readonly #event: SizedEvent;
  readonly #options: MinipoolBytesOptions;
  /** Where it begins among all submitted bytes. */
  readonly #start: number;
  #fits = false;
  /** What a look in its turn has found. */
  #found: number | undefined;

  constructor(
    minipool: Minipool,
    event: SizedEvent,
    options: MinipoolBytesOptions,
  ) {
    this.#minipool = minipool;
    this.#event = event;
    this.#options = options;
    this.#start = minipool.submitted;
    minipool.submitted += this.#length;
  }

  get fits(): boolean {
    return this.#fits ||= this.#isWithin();
  }

  check(stored: number): void {
    this.#options.check(this.#minipool.streamId, stored + this.#length);
    this.#found = stored;
  }

  done(): void {
    endUpTo(this.#minipool, this.#start + this.#length);
    const before = this.#before;
    if (before === undefined) {
      // What is known, if anything, is of another minipool than this one.
      this.#minipool.stored = undefined;
      return;
    }
    const { streamId } = this.#minipool;
    this.#minipool.generation = this.#event.generation;
    this.#minipool.stored = before + this.#length;
    this.#options.grown(streamId, before, this.#minipool.stored);
  }

  failed(error: unknown): void {
    // Behind others that have not ended, it counts until one of them has.
    if (this.#minipool.ended === this.#start) {
      this.#minipool.ended += this.#length;
    }
    const isRolledBack = isStreamStorageError(error) &&
      error.outcome === "rolled_back";
    if (!isRolledBack) this.#minipool.stored = undefined;
  }

  get #length(): number {
    return this.#event.envelope.length;
  }

  #isWithin(): boolean {
    const { limit } = this.#options;
    const { era, ended } = this.#minipool;
    if (this.#event.slot === 0) return this.#length <= limit;
    const stored = this.#known;
    if (stored === undefined || era.isOver) return false;
    return stored + (this.#start - ended) + this.#length <= limit;
  }

  /** What is known of its own generation. */
  get #known(): number | undefined {
    const { generation, stored } = this.#minipool;
    return generation === this.#event.generation ? stored : undefined;
  }

  /** The bytes before it, now that it is committed; undefined: not known. */
  get #before(): number | undefined {
    return this.#event.slot === 0 ? 0 : this.#found ?? this.#known;
  }
}
