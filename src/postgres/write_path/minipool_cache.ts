/**
 * The minipool cache: what this process remembers of minipools, so that it can
 * add an event without a look at those before it, and replace all of them by a
 * block without reading one.
 *
 * How it works
 * 1. A write locks its stream's row. PostgreSQL keeps the number of the last
 *    transaction that locked a row, in `xmax`.
 * 2. After the commit, the cache keeps how the minipool ends, that number, and
 *    the place of the row (`ctid`), which finds it faster than the index does.
 * 3. The next write of the stream sends an *unchecked* statement behind a lock
 *    that stops the transaction unless the row's last locker is still the cached
 *    one, and has committed (`lockUnchangedStreams`).
 *
 * Every writer locks the row first: this process, one before it, a node. So a
 * row that another one has written since is not *unchanged*, and the write is
 * sent once more with the look. It does not matter how old an entry is:
 *
 * - On a server that has lost the last commits in a failover, an earlier
 *   transaction has locked the row. Or the last one has, but did not commit
 *   there, so the lock asks for that, too. Such a server gives out the numbers of
 *   the lost transactions again; so the cache is dropped before a session is used
 *   that has reached another timeline (current_server.ts).
 * - A vacuumed row may have lost the number. It is looked at again.
 *
 * Two things that the lock alone does not exclude
 * - *A change between the server's look at `xmax` and its lock.* The server looks
 *   at the row as the statement began. If another transaction locks the row and
 *   commits before this one has its lock, nothing is compared again. No writer
 *   can do that: while a flush of ours is on its way, the next write of its
 *   stream waits; once it has lost its answer, the fence stops it (fence.ts); a
 *   successor's row stops it as well. An operator who mends rows by hand could,
 *   so docs/how_it_works.md asks for an UPDATE of the row in `es`: the server
 *   compares a row again that has a new version, and finds it elsewhere.
 * - *A number that is not a transaction's.* When several sessions lock a row FOR
 *   SHARE, `xmax` holds a MultiXactId, from a counter of its own, which may be
 *   equal to a cached number. It cannot matter: sharers write nothing, and a
 *   writer among the earlier lockers has either updated the row (so it is at
 *   another place, and there with another `xmax`), or was this process, or a
 *   node, whose takeover has closed the fence.
 *
 * The cache must never be ahead of the tables: an entry is taken from what is
 * committed, and dropped with every write of which that is not certain.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import { BoundedMap } from "../bounded_map.ts";

/** How a minipool ends. */
export interface MinipoolEnd {
  generation: bigint;
  /** The slot of the next event. */
  next: number;
  /**
   * As a swap has left it, apart from the events since: it has no hole, and it
   * follows the stream's last block, which is in the database.
   */
  isContiguous: boolean;
}

/** What the lock of a stream has told of its row. */
export interface LockedRow {
  /** The transaction that locked it last. */
  lockedBy: bigint;
  /** Where it is, until it is written: a `tid`. */
  at: number;
}

/** How a stream's minipool ends, as of the last lock of its row. */
export interface CachedMinipool extends MinipoolEnd, LockedRow {}

/** Streams that are remembered at most. */
const maxStreams = 100_000;

/** See the file's head. */
export class MinipoolCache {
  readonly #minipools = new BoundedMap<StreamId, CachedMinipool>(maxStreams);
  #era = 0;

  /** Changes each time that everything is forgotten. */
  get era(): number {
    return this.#era;
  }

  get(streamId: StreamId): CachedMinipool | undefined {
    return this.#minipools.get(streamId);
  }

  /**
   * To be called with what is committed, by a transaction that was sent in this
   * era: an answer of the last server may come after the store has moved to another.
   */
  learn(streamId: StreamId, minipool: CachedMinipool, era = this.#era): void {
    if (era === this.#era) this.#minipools.set(streamId, minipool);
  }

  forget(streamId: StreamId): void {
    this.#minipools.delete(streamId);
  }

  forgetAll(): void {
    this.#era++;
    this.#minipools.clear();
  }
}
