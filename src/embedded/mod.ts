/**
 * A real PostgreSQL server from npm binaries, for demos, tests and local work.
 * Nothing is installed, and nothing outlives the process that started it: the
 * server and its temporary files are removed on `close()`, on Ctrl-C and even
 * when the process is killed.
 *
 * @example
 * ```ts
 * import { startEmbeddedPostgres } from "@towns/stream-storage/embedded";
 *
 * await using postgres = await startEmbeddedPostgres();
 * console.log(postgres.url);
 * ```
 *
 * @module
 */
export {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "./start_embedded_postgres.ts";
export type { EmbeddedPostgresOptions } from "./options.ts";
