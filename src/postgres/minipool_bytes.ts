/**
 * Counts the bytes in the minipools that this process writes to.
 *
 * An event is admitted without a look at the tables only if it cannot exceed
 * the limit, whatever becomes of the writes before it. Two reasons admit it:
 *
 * - Its slot is 0. The storage accepts it only into an empty minipool.
 * - The bytes of its generation are known, and the event fits together with the
 *   bytes of every write that was submitted before it and has not ended yet.
 *
 * Only facts make bytes known: an event was committed in slot 0, or after a
 * look in its own turn, or on top of known bytes; or a swap or a creation was
 * committed. A write that was refused or failed shows nothing of what is
 * stored, so what is known stays as it is. A write with an unknown outcome
 * makes the bytes unknown. An assumption instead of facts would not be safe. If
 * a write to slot 0 counted as proof of an empty minipool, and that write were
 * then refused, the minipool could grow far beyond the limit.
 *
 * The writes of a stream end in the order in which they were submitted. So
 * bytes are counted as they are submitted, and each write is a stretch of that
 * count. Once a write is committed, everything up to its end has ended.
 */

import { isStreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { BoundedMap } from "./bounded_map.ts";

/** How a {@linkcode MinipoolBytes} counts. */
export interface MinipoolBytesOptions {
  limit: number;
  /** Streams remembered at most. */
  maxStreams: number;
  /** Throws if these bytes are too many. */
  check(streamId: StreamId, bytes: number): void;
  /** Called when a minipool has grown from `before` to `bytes`. */
  grown(streamId: StreamId, before: number, bytes: number): void;
}

/** What is known of a minipool, and of the writes that have not ended. */
interface Minipool {
  readonly streamId: StreamId;
  readonly era: Era;
  generation: bigint;
  /** The bytes of that generation; undefined if unknown. */
  stored: number | undefined;
  /** All bytes ever submitted. */
  submitted: number;
  /** How many of them, from the first on, belong to writes that have ended. */
  ended: number;
}

/** Replaced when everything is forgotten. */
interface Era {
  isOver: boolean;
}

/** An event that is about to be submitted. */
export interface SizedEvent {
  generation: bigint;
  slot: number;
  envelope: Uint8Array;
}

/** An event that is being counted. */
export interface CountedEvent {
  /**
   * Whether the event fits, whatever becomes of the writes before it. It may
   * become true while the event waits for its turn, and then stays true.
   */
  readonly fits: boolean;
  /** Throws if the event does not fit; called in its turn. */
  check(stored: number): void;
  /** To be called once the write is committed. */
  done(): void;
  /** To be called if the write has failed. */
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

  /**
   * Counts an event that is about to be submitted. The caller may await nothing
   * before it submits the event.
   */
  enter(streamId: StreamId, event: SizedEvent): CountedEvent {
    return new QueuedBytes(this.#of(streamId), event, this.#options);
  }

  /**
   * Counts a write that begins a minipool with these events and is about to be
   * submitted. Returns the function to call once the write is committed.
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

  /**
   * Forgets the bytes, because the stream may be another one. Writes that have
   * not ended still count.
   */
  forget(streamId: StreamId): void {
    const minipool = this.#minipools.get(streamId);
    if (minipool !== undefined) minipool.stored = undefined;
  }

  /** Forgets all bytes, because the tables may have lost committed writes. */
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

/** Notes that everything submitted up to `end` has ended. */
function endUpTo(minipool: Minipool, end: number): void {
  minipool.ended = Math.max(minipool.ended, end);
}

class QueuedBytes implements CountedEvent {
  readonly #minipool: Minipool;
  readonly #event: SizedEvent;
  readonly #options: MinipoolBytesOptions;
  /** Where the event begins among all submitted bytes. */
  readonly #start: number;
  #fits = false;
  /** The bytes that a look in the event's turn has found. */
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
      // Any known bytes belong to another minipool.
      this.#minipool.stored = undefined;
      return;
    }
    const { streamId } = this.#minipool;
    this.#minipool.generation = this.#event.generation;
    this.#minipool.stored = before + this.#length;
    this.#options.grown(streamId, before, this.#minipool.stored);
  }

  failed(error: unknown): void {
    // If writes before it have not ended, the event counts until one of them
    // ends.
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

  /** The known bytes of the event's own generation. */
  get #known(): number | undefined {
    const { generation, stored } = this.#minipool;
    return generation === this.#event.generation ? stored : undefined;
  }

  /** The bytes before the committed event; undefined if unknown. */
  get #before(): number | undefined {
    return this.#event.slot === 0 ? 0 : this.#found ?? this.#known;
  }
}
