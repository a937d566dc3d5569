/**
 * A limit of connections for several stores of one process.
 *
 * Each store has places of its own, which no other store takes: one for the
 * owner's session and one for each of its pools. So every store can always read
 * and write, and no two stores can wait for each other. The other places are
 * shared: a pool takes one for each further session.
 *
 *     max = places of stores' own + taken by pools + free
 *
 * A pool that wants a session and finds no free place joins a queue, and gets
 * the next place when its turn comes, one at a time. Meanwhile it works with
 * the sessions that it has; its calls wait for those, as at its own limit. It
 * must not wait for ever while other pools keep their sessions. So a pool gives
 * a session back: one that has been idle for a second, or else, if a pool holds
 * at least two more than the one that waits, one that has finished its work. A
 * new store gets its own places in the same way.
 */

import type { ConnectionLimit } from "../storage/connection_limit.ts";
import { StreamStorageError } from "../storage/errors.ts";

/** The state of each limit, kept here so that only this module can touch it. */
const places = new WeakMap<ConnectionLimit, SharedPlaces>();

/** The places of a limit. */
export function placesOf(limit: ConnectionLimit): SharedPlaces {
  const known = places.get(limit);
  if (known !== undefined) return known;
  const fresh = new SharedPlaces(limit.max);
  places.set(limit, fresh);
  return fresh;
}

/** A pool, as the others see it. */
export interface PlaceHolder {
  /** Sessions that the server may still have. */
  readonly held: number;
  /** Of these, the ones that will end after their present work. */
  readonly ending: number;
  /** Whether waiting calls would use another session. */
  readonly isShort: boolean;
  /** Ends a session that was idle for this long, but never the last one. */
  giveBack(idleMs: number): boolean;
  /** Called at the pool's turn: opens the session that it wants. */
  takeUp(): void;
}

/** A session that has been idle for this long is not needed at the moment. */
const idleMs = 1000;

/** Milliseconds between two searches for a session to give back. */
const lookMs = 100;

/** See the head of this file. */
export class SharedPlaces {
  readonly #max: number;
  readonly #holders = new Set<PlaceHolder>();
  /** Pools that wait, in the order of their turns. */
  readonly #short = new Set<PlaceHolder>();
  readonly #openings = new Set<() => void>();
  #kept = 0;
  #turn: PlaceHolder | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  /** Places that are taken, or kept for a store. */
  get taken(): number {
    let taken = this.#kept;
    for (const { held } of this.#holders) taken += Math.max(0, held - 1);
    return taken;
  }

  /** Negative while a new store waits for its own places. */
  get #free(): number {
    return this.#max - this.taken;
  }

  /**
   * Keeps places for a store until the returned function is called; waits until
   * they are free.
   *
   * @throws {StreamStorageError} RESOURCE_EXHAUSTED: there is no room for
   *   another store, or there was none in time. BAD_CONFIG: there will never
   *   be. The signal's reason.
   */
  async keep(
    count: number,
    { withinMs, signal }: {
      withinMs: number;
      signal?: AbortSignal | undefined;
    },
  ): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.#kept + count > this.#max) throw this.#noRoom(count);
    this.#kept += count;
    const letGo = () => {
      this.#kept -= count;
      this.freed();
    };
    if (this.#free >= 0) return once(letGo);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(this.#noRoom(count)), withinMs);
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#openings.add(resolve);
    this.#look();
    try {
      await promise;
    } catch (error) {
      letGo();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#openings.delete(resolve);
    }
    return once(letGo);
  }

  /** Adds a pool of a store that has places of its own. */
  join(holder: PlaceHolder): void {
    this.#holders.add(holder);
  }

  /** Called when the pool has closed. */
  leave(holder: PlaceHolder): void {
    this.#holders.delete(holder);
    this.#short.delete(holder);
    this.freed();
  }

  /** The number of sessions that the pool may open now. */
  roomFor(holder: PlaceHolder): number {
    const own = holder.held === 0 ? 1 : 0;
    const free = Math.max(0, this.#free);
    if (holder === this.#turn) return own + Math.min(1, free);
    return own + (this.#short.size === 0 ? free : 0);
  }

  /** Called when the pool would open another session and has no room. */
  want(holder: PlaceHolder): void {
    this.#short.add(holder);
    // Deferred, because the pool is in the middle of its own work.
    this.#timer ??= setTimeout(() => this.#look(), 0);
  }

  /** Called when a session is gone, or a place is not needed. */
  freed(): void {
    if (this.#turn !== undefined || this.#free < 0) return;
    for (const open of this.#openings) open();
    for (const holder of [...this.#short]) {
      if (this.#free <= 0) break;
      this.#short.delete(holder);
      this.#turn = holder;
      holder.takeUp();
      this.#turn = undefined;
    }
  }

  /** Makes pools give sessions back for those that wait, and looks again. */
  #look(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const holder of this.#short) {
      if (!holder.isShort) this.#short.delete(holder);
    }
    this.freed();
    let coming = 0;
    for (const { ending } of this.#holders) coming += ending;
    for (let missing = -this.#free - coming; missing > 0; missing--) {
      this.#reclaim(0);
    }
    for (const holder of this.#short) {
      if (coming-- <= 0) this.#reclaim(holder.held);
    }
    if (this.#short.size === 0 && this.#free >= 0) return;
    this.#timer = setTimeout(() => this.#look(), lookMs);
  }

  /** Reclaims a session for a pool that holds this many. */
  #reclaim(held: number): void {
    const holders = [...this.#holders]
      .sort((a, b) => b.held - b.ending - (a.held - a.ending));
    if (holders.some((holder) => holder.giveBack(idleMs))) return;
    const [most] = holders;
    if (most && most.held - most.ending >= held + 2) most.giveBack(0);
  }

  #noRoom(count: number): StreamStorageError {
    const isTooMuch = count > this.#max;
    return new StreamStorageError({
      code: isTooMuch ? "BAD_CONFIG" : "RESOURCE_EXHAUSTED",
      message: `Expected ${count} places for a store in the connection limit ` +
        `of ${this.#max}, of which ${this.taken} are taken`,
      details: {
        reason: "connection_limit",
        limit: this.#max,
        expected: count,
        actual: Math.max(0, this.#max - this.#kept),
      },
      retryable: !isTooMuch,
    });
  }
}

function once(letGo: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) letGo();
    isDone = true;
  };
}
