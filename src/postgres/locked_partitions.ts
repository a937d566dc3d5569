/**
 * The partitions whose tables another session has locked: VACUUM FULL, ALTER, a
 * plain CREATE INDEX or REINDEX, LOCK TABLE.
 *
 * PostgreSQL has no NOWAIT for the table of an INSERT, and a transaction that waits
 * keeps a transaction slot and a session. A few of those would stop all other
 * partitions. So it waits for `lock_timeout` only, which is short, and then the
 * server is asked whose tables are locked. Until they are free, writes of these
 * partitions are set aside (write_queue.ts) and reads wait here, without a session
 * either of them. Nobody tries again meanwhile: the server is asked now and then.
 *
 * A lock that the server does not show as one of a partition's, as on a row or on
 * `es`, is none of this module's matters.
 */

import { setTimeout as delay } from "node:timers/promises";
import { LockedTableError, type ReadGate } from "../database/read_gate.ts";
import { PoolOverloadError } from "../database/pool_errors.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** A partition's suffix, and whether readers, too, are kept from it. */
export type LockedPartition = readonly [suffix: string, keepsReaders: boolean];

/** What {@linkcode LockedPartitions} is made of. */
export interface LockedPartitionsOptions {
  suffixOf(streamId: StreamId): string;
  /** Asks the server. */
  find(): Promise<readonly LockedPartition[]>;
  /** Reads that wait at most. */
  maxWaiting: number;
}

/** Between two questions while something is locked. */
const pollMs = 100;

/**
 * An answer is good for so long. Who asks has waited for a lock for longer, so the
 * answer has seen it.
 */
const freshMs = 20;

/** See the file's head. */
export class LockedPartitions {
  readonly #options: LockedPartitionsOptions;
  readonly #listeners: (() => void)[] = [];
  #locked = new Map<string, { since: number; keepsReaders: boolean }>();
  #looking: Promise<void> | undefined;
  #askedAt = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #changed = Promise.withResolvers<void>();
  #waitingReads = 0;

  constructor(options: LockedPartitionsOptions) {
    this.#options = options;
  }

  /**
   * What reads pass. Those of a write have no patience: its transaction slot is
   * for others meanwhile.
   */
  readGate(maxWaitMs: number): ReadGate {
    return {
      isShut: (streamId) => this.#keepsReaders(streamId),
      wait: (...when) => this.#wait(...when),
      met: () => this.look(),
      maxWaitMs,
    };
  }

  /** Since when writers are kept from the stream; undefined: they are not. */
  since(streamId: StreamId): number | undefined {
    if (this.#locked.size === 0) return undefined;
    return this.#locked.get(this.#options.suffixOf(streamId))?.since;
  }

  /** Calls back when a partition was locked or is free again. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Asks the server, if nobody has just done so. Never rejects. */
  look(): Promise<void> {
    const isFresh = performance.now() - this.#askedAt < freshMs;
    if (isFresh && this.#looking === undefined) return Promise.resolve();
    this.#looking ??= this.#look().finally(() => this.#looking = undefined);
    return this.#looking;
  }

  /** Asks no more; who waits is let go. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#take([]);
  }

  async #look(): Promise<void> {
    this.#askedAt = performance.now();
    // No answer, no lock: those who try find out by themselves.
    const found = await this.#options.find().catch(() => []);
    if (this.#isClosed) return;
    this.#take(found);
    clearTimeout(this.#timer);
    if (this.#locked.size === 0) return;
    this.#timer = setTimeout(() => void this.look(), pollMs);
  }

  #take(found: readonly LockedPartition[]): void {
    const before = this.#locked;
    const now = performance.now();
    let isChanged = found.length !== before.size;
    this.#locked = new Map(found.map(([suffix, keepsReaders]) => {
      const known = before.get(suffix);
      isChanged ||= known?.keepsReaders !== keepsReaders;
      return [suffix, { since: known?.since ?? now, keepsReaders }];
    }));
    if (!isChanged) return;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    for (const listener of this.#listeners) listener();
  }

  #keepsReaders(streamId: string): boolean {
    if (this.#locked.size === 0) return false;
    const suffix = this.#options.suffixOf(streamId as StreamId);
    return this.#locked.get(suffix)?.keepsReaders ?? false;
  }

  async #wait(
    streamId: string,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { maxWaiting } = this.#options;
    if (this.#waitingReads >= maxWaiting) {
      throw new PoolOverloadError(maxWaiting);
    }
    const over = new AbortController();
    const ends = signal === undefined
      ? over.signal
      : AbortSignal.any([signal, over.signal]);
    const leftMs = Math.max(0, deadline - performance.now());
    const late = delay(leftMs, true, { signal: ends }).catch(() => true);
    this.#waitingReads++;
    try {
      while (this.#keepsReaders(streamId)) {
        const isLate = await Promise.race([late, this.#changed.promise]);
        signal?.throwIfAborted();
        if (isLate) throw new LockedTableError();
      }
    } finally {
      this.#waitingReads--;
      over.abort();
    }
  }
}
