/**
 * What this process believes of streams beyond a call, all of it in one place.
 *
 * A belief saves a look; it justifies nothing. A write that relies on one is
 * stopped by the server when the belief no longer holds (minipool_cache.ts), and
 * before anything is deleted for good, its reason is read again in the same
 * transaction. What is left to go wrong, a quota that is off, ends with these
 * rules:
 *
 * - A stream that is made anew or deleted, rebuilt or moved, or that gets blocks
 *   below its others, or loses some, is forgotten ({@link forget}; most writes say
 *   so by `endsBeliefs`).
 * - All is forgotten when the tables may be others than those that were believed:
 *   the store has moved to another timeline (current_server.ts), or the
 *   ownership session has come back ({@link forgetAll}). A server that was promoted
 *   may have lost the last commits.
 */

import type { StreamId } from "../storage/stream_id.ts";
import { LegacySnapshots } from "./legacy_snapshots.ts";
import type { Quotas } from "./quotas.ts";
import { MinipoolCache } from "./write_path/minipool_cache.ts";

/** Something that remembers facts of streams. */
export interface Beliefs {
  /** The stream may be another one from now on. */
  forget(streamId: StreamId): void;
  forgetAll(): void;
}

/** See the file's head. */
export class StreamCache implements Beliefs {
  readonly minipools = new MinipoolCache();
  readonly legacySnapshots = new LegacySnapshots();
  readonly #all: Beliefs[] = [this.minipools, this.legacySnapshots];

  constructor(quotas?: Quotas) {
    if (quotas !== undefined) this.add(quotas);
  }

  /** What is believed elsewhere obeys the same rules. */
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
