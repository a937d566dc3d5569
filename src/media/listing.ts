/**
 * A listing, page by page. S3 and Google promise names in the order of their
 * UTF-8 bytes; some servers keep that order only from page to page. So every
 * name must come after those of the pages before, or the listing is refused.
 * Otherwise a store that repeats itself would be listed for ever, and a
 * repeated object would count twice.
 */

import { Buffer } from "node:buffer";
import type { StoredObject } from "./object_store.ts";
import { ReplyFault } from "./reply_fault.ts";

/** A page of a listing, and the token of the next one. */
export interface ListingPage {
  objects: StoredObject[];
  next: string | undefined;
}

/** Bounds of a listing's length. */
export interface ListingBounds {
  maxObjects: number;
  /** The largest number of consecutive pages without an object. */
  maxEmptyPages: number;
}

const bounds: ListingBounds = { maxObjects: 100_000_000, maxEmptyPages: 1000 };

/** The state of a listing. */
export class Listing {
  readonly #prefix: string;
  readonly #bounds: ListingBounds;
  #token: string | undefined;
  /** The greatest name so far. */
  #last: string | undefined;
  #objects = 0;
  #emptyPages = 0;
  #isOver = false;

  constructor(
    prefix: string,
    { maxObjects, maxEmptyPages }: ListingBounds = bounds,
  ) {
    this.#prefix = prefix;
    this.#bounds = { maxObjects, maxEmptyPages };
  }

  /** The token with which the next page is requested. */
  get token(): string | undefined {
    return this.#token;
  }

  /** Whether the last page has been taken. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Takes the next page.
   *
   * @throws {ReplyFault} if it can't be that page.
   */
  take({ objects, next }: ListingPage): void {
    let last = this.#last;
    const names = new Set<string>();
    for (const { name } of objects) {
      // Others share the bucket; their objects are not ours to count or delete.
      if (!name.startsWith(this.#prefix)) {
        throw refused("listing_ignores_prefix");
      }
      if (this.#last !== undefined && !isBefore(this.#last, name)) {
        throw refused("listing_out_of_order");
      }
      if (last === undefined || isBefore(last, name)) last = name;
      names.add(name);
    }
    if (names.size < objects.length) throw refused("listing_repeats");
    if (next !== undefined && next === this.#token) {
      throw refused("listing_repeats");
    }
    const emptyPages = objects.length === 0 ? this.#emptyPages + 1 : 0;
    const count = this.#objects + objects.length;
    const { maxEmptyPages, maxObjects } = this.#bounds;
    if (emptyPages > maxEmptyPages) throw refused("listing_without_progress");
    if (count > maxObjects) throw refused("listing_too_long");
    this.#last = last;
    this.#emptyPages = emptyPages;
    this.#objects = count;
    this.#token = next;
    this.#isOver = next === undefined;
  }
}

function isBefore(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}

/** Not retryable: a store that lists like this will do it again. */
function refused(reason: string): ReplyFault {
  return new ReplyFault({ reason, retryable: false, status: 200 });
}
