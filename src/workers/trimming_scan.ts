import {
  readCursor,
  readTrimmingPage,
  type TrimmingPage,
  writeCursor,
} from "../postgres/operations/trimming_state.ts";
import type { Store } from "../postgres/store.ts";

const pageSize = 200;

/** From after one id to another id, or to the end. */
interface Leg {
  after: string;
  until?: string;
}

/**
 * Scans all streams: once after every unclean shutdown, and on request. A table
 * keeps its position, so that a process that restarts again and again still
 * reaches the last stream. The scan wraps around: streams before its position
 * may have changed since it passed them.
 */
export class TrimmingScan {
  readonly #store: Store;
  readonly #name: string;
  #isLoaded = false;
  #isWanted = false;
  /** The legs left before the present page, and those left after it. */
  #legs: Leg[] = [];
  #ahead: Leg[] = [];

  constructor(store: Store, name: string) {
    this.#store = store;
    this.#name = name;
  }

  /** Whether there are streams left to look at. */
  get isRunning(): boolean {
    return this.#isWanted || this.#legs.length > 0;
  }

  /** Requests a scan of all streams, starting now. */
  want(): void {
    this.#isWanted = true;
  }

  /** The next streams; undefined if none are left. */
  async next(
    signal: AbortSignal,
  ): Promise<TrimmingPage["streams"] | undefined> {
    await this.#load(signal);
    if (this.#legs.length === 0 && this.#isWanted) {
      this.#isWanted = false;
      this.#legs = [{ after: "" }];
    }
    const [leg, ...others] = this.#legs;
    if (leg === undefined) return undefined;
    const { after, until } = leg;
    const { streams, next } = await readTrimmingPage(
      this.#store,
      { name: this.#name, after, signal },
      pageSize,
    );
    const isOver = next === undefined || (until !== undefined && next >= until);
    this.#ahead = isOver ? others : [{ ...leg, after: next }, ...others];
    return streams;
  }

  /** Moves past the streams that `next` returned last. */
  async pass(): Promise<void> {
    this.#legs = this.#ahead;
    await writeCursor(this.#store, this.#name, this.#legs[0]?.after ?? "");
  }

  /** Records a clean end without work left: the next start need not scan. */
  async end(): Promise<void> {
    if (!this.#isLoaded || this.isRunning) return;
    await writeCursor(this.#store, this.#name, null);
  }

  async #load(signal: AbortSignal): Promise<void> {
    if (this.#isLoaded) return;
    const cursor = await readCursor(this.#store, this.#name, signal);
    // Assume that work is left until a clean shutdown says otherwise.
    if (!cursor) await writeCursor(this.#store, this.#name, "");
    this.#isLoaded = true;
    if (cursor === null) return;
    this.#legs = [{ after: cursor ?? "" }];
    if (cursor) this.#legs.push({ after: "", until: cursor });
  }
}
