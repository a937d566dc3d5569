/**
 * Opens stores for commands that write: as the owner of the schema, without
 * workers.
 */

import { openStreamStorage } from "../open_stream_storage.ts";
import type { StreamStorageOptions } from "../postgres/options.ts";
import type { PostgresStreamStorage } from "../postgres/postgres_stream_storage.ts";
import type { Cli } from "./cli.ts";
import type { OwnerOptions, StorePlace } from "./store_options.ts";

/** The options that a command may set. */
export type MoreOptions = Pick<
  StreamStorageOptions,
  "trimming" | "mediaStorage"
>;

/**
 * Opens the store for as long as `work` runs. If another instance owns the
 * schema, the call fails unless the options allow a takeover. The tables are
 * not migrated.
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
