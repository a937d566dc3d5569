/**
 * Opens a store without workers. Repairs are writes like any other: the
 * schema's owner makes them, behind its fence, each under its stream's lock.
 */

import type { Workers } from "../../postgres/background.ts";
import { openStore } from "../../postgres/open.ts";
import type { StreamStorageOptions } from "../../postgres/options.ts";
import type { Store } from "../../postgres/store.ts";

/**
 * The schema, with the options of `openStreamStorage`, and whether to take it
 * over.
 */
export interface OwnerOptions
  extends Omit<StreamStorageOptions, "whenOwned" | "migrate"> {
  /**
   * Take the schema from an instance that owns it. Default false: the call
   * fails with `schema_owned`, and the error names the owner.
   */
  takeOver?: boolean;
}

/** The internals of an open store. */
export interface OwnedStore extends AsyncDisposable {
  /** The store with the deadlines and few connections of background work. */
  store: Store;
  /**
   * The store with the connections and shared transactions of ordinary calls.
   */
  callers: Store;
}

/** The maintenance is out of reach, because the store itself is not exposed. */
const idle: Workers = {
  maintenance: {} as Workers["maintenance"],
  start: () => {},
  stop: () => Promise.resolve(),
};

/**
 * Becomes the owner and changes nothing else.
 *
 * @param migrate `check` refuses a schema that is not up to date. A repair
 *   passes no check, because the schema itself may be damaged.
 */
export async function openOwned(
  { takeOver = false, ...options }: OwnerOptions,
  migrate: "skip" | "check" = "skip",
): Promise<OwnedStore> {
  let inside: Omit<OwnedStore, typeof Symbol.asyncDispose> | undefined;
  const storage = await openStore(
    {
      applicationName: "stream-repair",
      // A repair needs few connections and no workers: it uploads nothing.
      maxConnections: 4,
      ...options,
      workerConcurrency: 0,
      migrate,
      whenOwned: takeOver ? "take" : "fail",
    },
    () => ({ store, callers }) => {
      inside = { store, callers };
      return idle;
    },
  );
  return { ...inside!, [Symbol.asyncDispose]: () => storage.close() };
}
