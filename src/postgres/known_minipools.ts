/**
 * What this process knows of minipools, so that an event can be added without
 * a look at those before it, and all of them swapped for a block without reading
 * one.
 *
 * Known of a stream is how its minipool ends, and who locked the stream's row
 * last: the number of a transaction, which the row keeps (PostgreSQL's `xmax`).
 * Where the row is, is known as well, but only to find it faster. Every writer
 * locks the row first, this process, one before it or a node, so whoever was
 * there since has left another number. What is known is relied on only behind a
 * lock that stops the transaction unless the number is the same
 * (`lockUntouchedStreams`). So it does not matter how old the knowledge is or
 * where it came from:
 *
 * - On a server that has lost the last commits in a failover, an earlier
 *   transaction has locked the row; or the last one has, but was not committed
 *   there, which the server is asked as well.
 * - A vacuumed row may have lost the number. It is looked at again.
 * - A flush that was sent by a connection that is lost by now, and is done when
 *   its caller has long gone on, finds another number.
 *
 * The last one has a gap: the row could be locked and released again between
 * the server's look at the number and its own lock. A late swap would then remove
 * an event that was acknowledged meanwhile, a late event would add to a minipool
 * that is gone. So the streams of a flush whose answer was lost are *doubted*,
 * and the next write of each, whatever it does, writes its row as well
 * (`claimStream`). The server looks again at a row that was written since its
 * first look, and the new one is locked by nobody. When that is committed no flush
 * from before can be done any more, and the doubt is over.
 *
 * Knowledge must never be ahead of the tables: it is taken from what is
 * committed, and dropped with every write of which that is not certain.
 */

import type { StreamId } from "../storage/stream_id.ts";
import { BoundedMap } from "./bounded_map.ts";

/** How a minipool ends. */
export interface MinipoolEnd {
  generation: bigint;
  /** The slot of the next event. */
  next: number;
  /**
   * As a swap has left it but for the events since: no hole is in it, and it
   * follows the stream's last block, which is in the database.
   */
  isWhole: boolean;
}

/** What the lock of a stream has told of its row. */
export interface KnownRow {
  /** The transaction that locked it last. */
  lockedBy: bigint;
  /** Where it is, until it is written: a `tid`. */
  at: number;
}

/** How a stream's minipool ends, as of the last lock of its row. */
export interface KnownMinipool extends MinipoolEnd, KnownRow {}

/** Of so many streams something is known, or doubted, at most. */
const maxStreams = 100_000;

/** See the file's head. */
export class KnownMinipools {
  readonly #known = new BoundedMap<StreamId, KnownMinipool>(maxStreams);
  readonly #doubted = new Set<StreamId>();
  /** There were too many to know which. */
  #doubtsAll = false;

  get(streamId: StreamId): KnownMinipool | undefined {
    return this.#known.get(streamId);
  }

  /** To be called with what is committed. */
  learn(streamId: StreamId, known: KnownMinipool): void {
    this.#known.set(streamId, known);
  }

  forget(streamId: StreamId): void {
    this.#known.delete(streamId);
  }

  /** A flush that trusted what was known of the stream may still be done. */
  doubt(streamId: StreamId): void {
    if (this.#doubted.size < maxStreams) this.#doubted.add(streamId);
    else this.#doubtsAll = true;
  }

  /** Whether the next write has to write the stream's row. */
  isDoubted(streamId: StreamId): boolean {
    return this.#doubtsAll || this.#doubted.has(streamId);
  }

  /** The stream's row was written since, and that is committed. */
  settleDoubt(streamId: StreamId): void {
    this.#doubted.delete(streamId);
  }
}
