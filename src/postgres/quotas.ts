/**
 * Limits on the growth of single streams, all off unless they are set.
 *
 * A quota must not cost a write its one round trip, or its place in a shared
 * transaction. So each write is admitted by what is known: its slot shows the
 * number of events, and of bytes and of the latest snapshot this process
 * remembers what was committed (minipool_bytes.ts says how that stays exact). A
 * write can't be admitted so if nothing is known of its stream yet, or if it
 * seems to be over the limit. Only such a write runs alone and looks at what is
 * stored, in its stream's turn. Since no other process writes (ownership.ts),
 * what the look finds is exact, and only that result refuses a write. The
 * statement that adds a candidate also counts the candidates.
 */

import { StreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { BoundedMap } from "./bounded_map.ts";
import { type Checked, int, object, that, withDefault } from "./checks.ts";
import { MinipoolBytes } from "./minipool_bytes.ts";

/**
 * Limits on single streams; absent or 0: no limit. A write that would exceed
 * one is refused with `RESOURCE_EXHAUSTED`.
 *
 * @example
 * ```ts
 * import type { QuotaOptions } from "@towns/stream-storage";
 *
 * const quotas: QuotaOptions = {
 *   minipoolEvents: 10_000,
 *   minipoolBytes: 32 * 1024 * 1024,
 * };
 * ```
 */
export interface QuotaOptions {
  /** Events of a minipool. */
  minipoolEvents?: number;
  /** Bytes of a minipool's events. */
  minipoolBytes?: number;
  /** Candidates for one block number. */
  candidatesPerHeight?: number;
  /** Blocks behind the latest snapshot. */
  blocksSinceSnapshot?: number;
  /** The part of a limit at which a warning is logged. Default 0.8. */
  warnAt?: number;
}

/** The name of a quota. */
export type QuotaName = Exclude<keyof QuotaOptions, "warnAt">;

const limit = withDefault(int(0, Number.MAX_SAFE_INTEGER), 0);

/** Checks the option and fills in defaults. */
export const checkQuotas = object({
  minipoolEvents: limit,
  minipoolBytes: limit,
  candidatesPerHeight: limit,
  blocksSinceSnapshot: limit,
  warnAt: withDefault(
    that<number>(
      (value) => typeof value === "number" && value > 0 && value <= 1,
      "must be a number above 0, and at most 1",
    ),
    0.8,
  ),
});

/** The option with every default filled in. */
export type ResolvedQuotas = Checked<typeof checkQuotas>;

/** Called when a stream comes near a limit. */
export type OnNear = (
  quota: QuotaName,
  details: { streamId: StreamId; limit: number; actual: number },
) => void;

const reasons: Record<QuotaName, string> = {
  minipoolEvents: "minipool_events_quota",
  minipoolBytes: "minipool_bytes_quota",
  candidatesPerHeight: "candidates_quota",
  blocksSinceSnapshot: "blocks_since_snapshot_quota",
};

const maxRemembered = 100_000;

/** What is known of a stream's latest snapshot since its creation. */
export interface KnownSnapshot {
  /** The latest snapshot or an earlier one; undefined if none is known. */
  latest: bigint | undefined;
}

/** The quotas of a store that has any; see the file's head. */
export class Quotas {
  /** Undefined without a limit. */
  readonly minipoolBytes: MinipoolBytes | undefined;
  readonly #limits: ResolvedQuotas;
  readonly #onNear: OnNear;
  readonly #snapshots = new BoundedMap<StreamId, KnownSnapshot>(maxRemembered);

  private constructor(limits: ResolvedQuotas, onNear: OnNear) {
    this.#limits = limits;
    this.#onNear = onNear;
    if (limits.minipoolBytes === 0) return;
    this.minipoolBytes = new MinipoolBytes({
      limit: limits.minipoolBytes,
      maxStreams: maxRemembered,
      check: (streamId, bytes) => this.check("minipoolBytes", streamId, bytes),
      grown: (...growth) => this.grown("minipoolBytes", ...growth),
    });
  }

  /** Undefined without any limit. */
  static of(limits: ResolvedQuotas, onNear: OnNear): Quotas | undefined {
    const { warnAt: _warnAt, ...all } = limits;
    const isOff = Object.values(all).every((limit) => limit === 0);
    return isOff ? undefined : new Quotas(limits, onNear);
  }

  /** The limit; 0: none. */
  limitOf(quota: QuotaName): number {
    return this.#limits[quota];
  }

  /**
   * Refuses a write after which there would be `actual`.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED, with reason, limit,
   *   actual.
   */
  check(quota: QuotaName, streamId: StreamId, actual: number): void {
    const limit = this.#limits[quota];
    if (limit > 0 && actual > limit) {
      throw this.exceeded(quota, streamId, actual);
    }
  }

  /** The error of a write after which there would be `actual`. */
  exceeded(
    quota: QuotaName,
    streamId: StreamId,
    actual: number,
  ): StreamStorageError {
    const limit = this.#limits[quota];
    return new StreamStorageError({
      code: "RESOURCE_EXHAUSTED",
      message: `Quota ${quota} of stream ${streamId} is ${limit}, ` +
        `and this write would reach ${actual}`,
      details: { reason: reasons[quota], quota, streamId, limit, actual },
    });
  }

  /** Warns if a committed write has brought the stream near the limit. */
  grown(
    quota: QuotaName,
    streamId: StreamId,
    before: number,
    actual: number,
  ): void {
    const { warnAt, [quota]: limit } = this.#limits;
    const near = Math.ceil(limit * warnAt);
    if (limit === 0 || before >= near || actual < near) return;
    this.#onNear(quota, { streamId, limit, actual });
  }

  /**
   * What is known of the stream's latest snapshot. A write gets this object
   * when it is submitted, and notes in it what it learns. If the stream is
   * forgotten in between, no later write reads the note, because it may be
   * about a stream that is gone.
   */
  snapshotOf(streamId: StreamId): KnownSnapshot {
    let known = this.#snapshots.get(streamId);
    if (known === undefined) {
      known = { latest: undefined };
      this.#snapshots.set(streamId, known);
    }
    return known;
  }

  /**
   * Notes that a stream is about to be created: its minipool will be empty, its
   * latest snapshot 0. Returns the function to call once that is committed.
   */
  creates(streamId: StreamId): () => void {
    const minipool = { generation: 1n, envelopes: [] };
    const begun = this.minipoolBytes?.begins(streamId, minipool);
    const known = this.limitOf("blocksSinceSnapshot") > 0
      ? this.snapshotOf(streamId)
      : undefined;
    return () => {
      begun?.();
      if (known !== undefined) known.latest = 0n;
    };
  }

  /** Forgets the stream, which may be another one from now on. */
  forget(streamId: StreamId): void {
    this.minipoolBytes?.forget(streamId);
    this.#snapshots.delete(streamId);
  }

  /** Forgets everything, because the tables may have lost committed writes. */
  forgetAll(): void {
    this.minipoolBytes?.forgetAll();
    this.#snapshots.clear();
  }
}
