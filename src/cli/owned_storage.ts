/** The work of commands that write: by the owner of the schema, without workers. */

import { openStreamStorage } from "../open_stream_storage.ts";
import type { StreamStorageOptions } from "../postgres/options.ts";
import type { PostgresStreamStorage } from "../postgres/postgres_stream_storage.ts";
import type { Cli } from "./cli.ts";
import type { OwnerOptions, StorePlace } from "./store_options.ts";

/** What may be set besides. */
export type MoreOptions = Pick<
  StreamStorageOptions,
  "trimming" | "mediaStorage"
>;

/**
 * Opens the store for as long as `work` takes. A store that somebody owns is
 * refused, unless it is to be taken over; the tables are not migrated.
 */
export async function withOwnedStorage<T>(
  place: StorePlace & OwnerOptions,
  { signal }: Pick<Cli, "signal">,
  more: MoreOptions,
  work: (storage: PostgresStreamStorage) => Promise<T>,
): Promise<T> {
  const { url, schema, takeOver = false } = place;
  await using storage = await openStreamStorage({
    url,
    schema,
    ...more,
    signal,
    applicationName: "stream-operator",
    migrate: "check",
    whenOwned: takeOver ? "take" : "fail",
    workerConcurrency: 0,
  });
  return await work(storage);
}
