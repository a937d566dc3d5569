/**
 * The minipool cache remembers how minipools end, so that this process can add
 * an event without reading those before it, and replace a whole minipool by a
 * block without reading any event.
 *
 * How it works
 * 1. A write locks its stream's row. PostgreSQL keeps the number of the last
 *    transaction that locked a row, in `xmax`.
 * 2. After the commit, the cache keeps how the minipool ends, that number, and
 *    the place of the row (`ctid`), which finds the row faster than the index
 *    does.
 * 3. The next write of the stream sends an *unchecked* statement behind a lock.
 *    The lock stops the transaction unless the row's last locker is still the
 *    cached one, and has committed (`lockUnchangedStreams`).
 *
 * Every writer locks the row first: this process, its predecessor, a node. If
 * any other writer has written to the stream since, the row is not *unchanged*;
 * the write is then sent once more, with a statement that looks first. The age
 * of an entry does not matter:
 *
 * - A failover may lose the last commits. On the new server, an earlier
 *   transaction was the last to lock the row; or the cached one was, but has
 *   not committed there, so the lock also requires its commit. The new server
 *   uses the numbers of lost transactions again. So the cache is dropped before
 *   the store uses a session that has reached another timeline
 *   (current_server.ts).
 * - VACUUM may remove the number from a row. Then the write looks again.
 *
 * Two cases that the lock alone does not exclude
 * - *A change between reading `xmax` and getting the lock.* The server reads
 *   the row as of the start of the statement. If another transaction locks the
 *   row and commits before this one has its lock, the server does not compare
 *   again. No writer can do that. While our flush is on its way, the next write
 *   of its stream waits. The fence stops a flush that has lost its answer
 *   (fence.ts), and so does a successor's row. An operator who repairs rows by
 *   hand could do it, so docs/how_it_works.md asks for an UPDATE of the row in
 *   `es`: that creates a new version of the row, which the server does compare
 *   again, and finds at another place.
 * - *A number that is no transaction's.* When several sessions lock a row FOR
 *   SHARE, `xmax` holds a MultiXactId, whose counter is separate, so it may
 *   equal a cached number. That does no harm, because sessions that share the
 *   lock write nothing. An earlier locker that did write has updated the row
 *   (which is then at another place, with another `xmax`), or was this process,
 *   or was a node, whose takeover has closed the fence.
 *
 * The cache must never be ahead of the tables. An entry comes from a committed
 * transaction, and is dropped with every write that is not known to be
 * committed.
 */

import type { StreamId } from "../../storage/stream_id.ts";
import { BoundedMap } from "../bounded_map.ts";

/** How a minipool ends. */
export interface MinipoolEnd {
  generation: bigint;
  /** The slot of the next event. */
  next: number;
  /**
   * The minipool has no hole, and follows the stream's last block, which is in
   * the database: a swap has left it so, and only events were added since.
   */
  isContiguous: boolean;
}

/** What a stream's lock has returned about the stream's row. */
export interface LockedRow {
  /** The last transaction that locked the row. */
  lockedBy: bigint;
  /** The row's place, a `tid`; valid until the row is written. */
  at: number;
}

/** How a stream's minipool ends, as of the last lock of its row. */
export interface CachedMinipool extends MinipoolEnd, LockedRow {}

/** Streams that the cache holds at most. */
const maxStreams = 100_000;

/** How minipools end after their last committed write; see the file's head. */
export class MinipoolCache {
  readonly #minipools = new BoundedMap<StreamId, CachedMinipool>(maxStreams);
  #era = 0;

  /** Rises each time that everything is forgotten. */
  get era(): number {
    return this.#era;
  }

  get(streamId: StreamId): CachedMinipool | undefined {
    return this.#minipools.get(streamId);
  }

  /**
   * Remembers what a transaction has committed. `era` is that of its sending:
   * an answer of the previous server may arrive after the store has moved to
   * another, and must not be learnt.
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
