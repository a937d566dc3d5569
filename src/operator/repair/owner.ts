/**
 * Repairs are writes like any other: by the owner of the schema, behind its fence
 * and each under its stream's lock. So they open a store, without its workers.
 */

import type { Workers } from "../../postgres/background.ts";
import { openStore } from "../../postgres/open.ts";
import type { StreamStorageOptions } from "../../postgres/options.ts";
import type { Store } from "../../postgres/store.ts";

/** Where the schema is, as `openStreamStorage` is told, and who may own it. */
export interface OwnerOptions
  extends Omit<StreamStorageOptions, "whenOwned" | "migrate"> {
  /**
   * Take the schema from an instance that owns it. Default false: it is refused
   * (`schema_owned`), and the error says who that is.
   */
  takeOver?: boolean;
}

/** The inside of an open store. */
export interface OwnedStore extends AsyncDisposable {
  /** With the patience, and the few connections, of work in the background. */
  store: Store;
  /** With the connections, and the shared transactions, of a store's callers. */
  callers: Store;
}

/** Nobody gets at the maintenance: the store itself is not given away. */
const idle: Workers = {
  maintenance: {} as Workers["maintenance"],
  start: () => {},
  stop: () => Promise.resolve(),
};

/**
 * Becomes the owner; changes no table otherwise.
 *
 * @param migrate `check` refuses a schema that is not up to date. A repair does
 *   without: the schema itself may be damaged.
 */
export async function openOwned(
  { takeOver = false, ...options }: OwnerOptions,
  migrate: "skip" | "check" = "skip",
): Promise<OwnedStore> {
  let inside: Omit<OwnedStore, typeof Symbol.asyncDispose> | undefined;
  const storage = await openStore(
    {
      applicationName: "stream-repair",
      // Few, and no workers: an upload is no matter of a repair.
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
