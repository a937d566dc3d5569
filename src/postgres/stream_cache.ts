/**
 * All that this process believes of streams beyond a call.
 *
 * A belief saves a look, but justifies nothing. If a belief no longer holds,
 * the server stops the write that relies on it (minipool_cache.ts). Before
 * anything is deleted for good, the same transaction reads the reason again.
 * What can still go wrong, such as a quota that is off, ends with these rules:
 *
 * - A stream is forgotten when it is created anew, deleted, rebuilt or moved,
 *   gets blocks below its others, or loses some ({@link forget}; most writes
 *   say so by `endsBeliefs`).
 * - All streams are forgotten when the tables may be others than before
 *   ({@link forgetAll}): the store has moved to another timeline
 *   (current_server.ts), or the ownership session has come back. A promoted
 *   server may have lost the last commits.
 */

import type { StreamId } from "../storage/stream_id.ts";
import { LegacySnapshots } from "./legacy_snapshots.ts";
import type { Quotas } from "./quotas.ts";
import { MinipoolCache } from "./write_path/minipool_cache.ts";

/** Remembers facts of streams, and can forget them. */
export interface Beliefs {
  /** Forgets the stream, which may be another one from now on. */
  forget(streamId: StreamId): void;
  forgetAll(): void;
}

/** What this process believes of streams; see the file's head. */
export class StreamCache implements Beliefs {
  readonly minipools = new MinipoolCache();
  readonly legacySnapshots = new LegacySnapshots();
  readonly #all: Beliefs[] = [this.minipools, this.legacySnapshots];

  constructor(quotas?: Quotas) {
    if (quotas !== undefined) this.add(quotas);
  }

  /** Adds beliefs that are held elsewhere but obey the same rules. */
  add(beliefs: Beliefs): void {
    this.#all.push(beliefs);
  }

  forget(streamId: StreamId): void {
    for (const beliefs of this.#all) beliefs.forget(streamId);
  }

  forgetAll(): void {
    for (const beliefs of this.#all) beliefs.forgetAll();
  }
}
