/**
 * Measures how long a verification takes, and how long `pg_dump` takes for the
 * same rows in the same run. The program makes a schema and removes it.
 *
 * ```sh
 * deno task bench:verify --streams 20000 --blocks 456000
 * ```
 */
import process from "node:process";
import { DebianServer } from "./debian_server.ts";
import { runProgram } from "./arguments.ts";
import { readArguments, usage } from "./bench_verify/arguments.ts";
import { measure } from "./bench_verify/measure.ts";

/** Settings of a server in production, except for the smaller cache. */
const settings = { shared_buffers: "512MB", max_wal_size: "4GB" };

process.exitCode = await runProgram({
  usage,
  readArguments,
  run: async (options) => {
    await using server = await DebianServer.start(settings);
    await measure(server.url, options);
    return 0;
  },
});
