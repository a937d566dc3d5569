import { loadModule } from "./storage/load_module.ts";
import type { PostgresStreamReader } from "./postgres/postgres_stream_reader.ts";
import type { StreamReaderOptions } from "./postgres/reader_options.ts";

/**
 * Opens a schema for reading, whether a store, a Towns node or nobody owns it.
 * The reader takes no lock, writes no row and migrates nothing; the owner does
 * not notice it. The right to `SELECT` is enough.
 *
 * Errors: `BAD_CONFIG` for options, a refused login and a schema that can't be
 * read (`schema_not_found`, `schema_not_current` and others in
 * `details.reason`), `UNAVAILABLE` for a server that can't be reached,
 * `CANCELED` for the signal.
 *
 * @example How many streams a node has, while it runs.
 * ```ts
 * import {
 *   openStreamReader,
 *   schemaNameFromAddress,
 * } from "@towns/stream-storage";
 *
 * await using reader = await openStreamReader({
 *   url: "postgresql://reader:secret@localhost/towns",
 *   schema: schemaNameFromAddress("0x00000000000000000000000000000000000000ab"),
 * });
 * console.log(await reader.getStreamsNumber());
 * ```
 */
export async function openStreamReader(
  options: StreamReaderOptions,
): Promise<PostgresStreamReader> {
  const { openReader } = await (reader ??= loadReader());
  return await openReader(options);
}

let reader: ReturnType<typeof loadReader> | undefined;

/** Loads the reader without the code that writes. */
function loadReader() {
  return loadModule(() => import("./postgres/open_reader.ts"));
}
