import {
  readCursor,
  readTrimmingPage,
  type TrimmingPage,
  writeCursor,
} from "../postgres/operations/trimming_state.ts";
import type { Store } from "../postgres/store.ts";

const pageSize = 200;

/** From behind an id to another one, or to the end. */
interface Leg {
  after: string;
  until?: string;
}

/**
 * Goes through all streams, once after every start that did not follow an
 * orderly end, and whenever it is asked to. Where it is is kept in a table, and
 * there it goes on: a process that is restarted again and again still comes to
 * the last stream. Its way is a circle, so that those before are not left out
 * for what happened since they were passed.
 */
export class TrimmingScan {
  readonly #store: Store;
  readonly #name: string;
  #isLoaded = false;
  #isWanted = false;
  /** The way that is left, and what is left of it after the present page. */
  #legs: Leg[] = [];
  #ahead: Leg[] = [];

  constructor(store: Store, name: string) {
    this.#store = store;
    this.#name = name;
  }

  /** Whether there are streams left to look at. */
  get isUnderWay(): boolean {
    return this.#isWanted || this.#legs.length > 0;
  }

  /** All streams are to be looked at, from now on. */
  want(): void {
    this.#isWanted = true;
  }

  /** The next streams; undefined: none are left. */
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

  /** The streams that came last were dealt with. */
  async pass(): Promise<void> {
    this.#legs = this.#ahead;
    await writeCursor(this.#store, this.#name, this.#legs[0]?.after ?? "");
  }

  /** An orderly end with nothing left: the next start need not look. */
  async end(): Promise<void> {
    if (!this.#isLoaded || this.isUnderWay) return;
    await writeCursor(this.#store, this.#name, null);
  }

  async #load(signal: AbortSignal): Promise<void> {
    if (this.#isLoaded) return;
    const cursor = await readCursor(this.#store, this.#name, signal);
    // Until an orderly end says otherwise there may be something left.
    if (!cursor) await writeCursor(this.#store, this.#name, "");
    this.#isLoaded = true;
    if (cursor === null) return;
    this.#legs = [{ after: cursor ?? "" }];
    if (cursor) this.#legs.push({ after: "", until: cursor });
  }
}
