/**
 * The partitions whose tables another session has locked: by VACUUM FULL,
 * ALTER, a plain CREATE INDEX or REINDEX, or LOCK TABLE.
 *
 * PostgreSQL has no NOWAIT for the table of an INSERT. A transaction that waits
 * keeps its transaction slot and its session, so a few such transactions would
 * stop all other partitions. So a transaction waits only for the short
 * `lock_timeout`; then the store asks the server whose tables are locked. Until
 * these are free, writes to their partitions are set aside (write_queue.ts) and
 * reads wait here, both without a session. Meanwhile no call tries again: the
 * store asks the server at intervals.
 *
 * A lock that the server does not list for a partition, such as one on a row or
 * on `es`, does not concern this module.
 */

import { setTimeout as delay } from "node:timers/promises";
import { LockedTableError, type ReadGate } from "../database/read_gate.ts";
import { PoolOverloadError } from "../database/pool_errors.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** A partition's suffix, and whether it is locked for readers, too. */
export type LockedPartition = readonly [suffix: string, keepsReaders: boolean];

/** What {@linkcode LockedPartitions} is made of. */
export interface LockedPartitionsOptions {
  suffixOf(streamId: StreamId): string;
  /** Asks the server. */
  find(): Promise<readonly LockedPartition[]>;
  /** Reads that wait at most. */
  maxWaiting: number;
}

/** Milliseconds between two questions while a partition is locked. */
const pollMs = 100;

/**
 * Milliseconds for which an answer is reused. A call that asks has waited for
 * its lock for longer, so the answer shows that lock.
 */
const freshMs = 20;

/** Knows which partitions are locked; see the file's head. */
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
   * The gate for reads. `maxWaitMs` is short for the reads of a write, which
   * keep a transaction slot busy while they wait.
   */
  readGate(maxWaitMs: number): ReadGate {
    return {
      isShut: (streamId) => this.#keepsReaders(streamId),
      wait: (...when) => this.#wait(...when),
      met: () => this.look(),
      maxWaitMs,
    };
  }

  /** Since when writers are kept from the stream; undefined if they are not. */
  since(streamId: StreamId): number | undefined {
    if (this.#locked.size === 0) return undefined;
    return this.#locked.get(this.#options.suffixOf(streamId))?.since;
  }

  /** Calls `listener` when a partition is locked or free again. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Asks the server, unless it was just asked. Never rejects. */
  look(): Promise<void> {
    const isFresh = performance.now() - this.#askedAt < freshMs;
    if (isFresh && this.#looking === undefined) return Promise.resolve();
    this.#looking ??= this.#look().finally(() => this.#looking = undefined);
    return this.#looking;
  }

  /** Stops asking, and lets all waiting reads continue. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#take([]);
  }

  async #look(): Promise<void> {
    this.#askedAt = performance.now();
    // Without an answer, no partition counts as locked: each call finds out by
    // itself.
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
