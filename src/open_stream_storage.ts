import { loadModule } from "./storage/load_module.ts";
import type { StreamStorageOptions } from "./postgres/options.ts";
import type { PostgresStreamStorage } from "./postgres/postgres_stream_storage.ts";

/**
 * Opens a store in a PostgreSQL schema: creates or migrates the schema, waits
 * for its present owner to leave, becomes its owner, and starts the configured
 * workers.
 *
 * Errors: `BAD_CONFIG` for options, a refused login and a schema that can't be
 * used (`details.reason` and `details.faults` say which), `UNAVAILABLE` for a
 * server that can't be reached, `RESOURCE_EXHAUSTED` (`ownership_lost`) when
 * another instance started meanwhile, `CANCELED` for the signal.
 *
 * @example Open the schema of a node, by its address.
 * ```ts
 * import {
 *   openStreamStorage,
 *   schemaNameFromAddress,
 * } from "@towns/stream-storage";
 *
 * await using storage = await openStreamStorage({
 *   url: "postgresql://towns:secret@localhost/towns",
 *   schema: schemaNameFromAddress("0x00000000000000000000000000000000000000ab"),
 * });
 * ```
 */
export async function openStreamStorage(
  options: StreamStorageOptions,
): Promise<PostgresStreamStorage> {
  const { openStore } = await (store ??= loadStore());
  return await openStore(options, () => workers ??= loadWorkers());
}

let store: ReturnType<typeof loadStore> | undefined;
let workers: ReturnType<typeof loadWorkers> | undefined;

function loadStore() {
  return loadModule(() => import("./postgres/open.ts"));
}

async function loadWorkers() {
  const { createWorkers } = await loadModule(() =>
    import("./workers/create_workers.ts")
  );
  return createWorkers;
}
