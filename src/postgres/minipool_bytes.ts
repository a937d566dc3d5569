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

interface Minipool {
  generation: bigint;
  /** Committed bytes, at least; undefined: not known. */
  stored: number | undefined;
  /** Bytes of writes under way. */
  pending: number;
}

/** An event's way through the count. */
export interface CountedEvent {
  /** It fits, whatever becomes of the writes under way. */
  fits: boolean;
  /** In its turn, with what is stored: throws when it does not fit. */
  check(stored: number): void;
  /** Its write was committed, or not. */
  done(): void;
  failed(error: unknown): void;
}

/**
 * How many bytes wait in the minipools that this process writes to. What is
 * known is never too little: everything under way counts until it has failed,
 * and after a write of unknown outcome nothing is known.
 */
export class MinipoolBytes {
  readonly #options: MinipoolBytesOptions;
  readonly #minipools: BoundedMap<StreamId, Minipool>;

  constructor(options: MinipoolBytesOptions) {
    this.#options = options;
    this.#minipools = new BoundedMap(options.maxStreams);
  }

  /** An event is about to be written. */
  enter(
    streamId: StreamId,
    { generation, slot, envelope: { length } }: {
      generation: bigint;
      slot: number;
      envelope: Uint8Array;
    },
  ): CountedEvent {
    const { limit, check, grown } = this.#options;
    const minipool = this.#of(streamId, generation, slot);
    const { stored, pending } = minipool;
    minipool.pending += length;
    return {
      fits: stored !== undefined && stored + pending + length <= limit,
      check: (stored) => {
        minipool.stored = stored;
        check(streamId, stored + length);
      },
      done: () => {
        minipool.pending -= length;
        if (minipool.stored === undefined) return;
        minipool.stored += length;
        grown(streamId, minipool.stored - length, minipool.stored);
      },
      failed: (error) => {
        minipool.pending -= length;
        const isKnown = isStreamStorageError(error) &&
          error.outcome === "rolled_back";
        if (!isKnown) minipool.stored = undefined;
      },
    };
  }

  /** A minipool was begun with these events, and no other was added yet. */
  begun(
    streamId: StreamId,
    { generation, envelopes }: {
      generation: bigint;
      envelopes: readonly Uint8Array[];
    },
  ): void {
    const bytes = envelopes.reduce((sum, { length }) => sum + length, 0);
    this.#of(streamId, generation, 0).stored = bytes;
  }

  forgetAll(): void {
    this.#minipools.clear();
  }

  forget(streamId: StreamId): void {
    this.#minipools.delete(streamId);
  }

  #of(streamId: StreamId, generation: bigint, slot: number): Minipool {
    const known = this.#minipools.get(streamId);
    if (known?.generation === generation) return known;
    // The first event is only added where there is none.
    const stored = slot === 0 ? 0 : undefined;
    const minipool = { generation, stored, pending: 0 };
    this.#minipools.set(streamId, minipool);
    return minipool;
  }
}
