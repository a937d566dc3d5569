/**
 * Measures how long exports, imports, copies and comparisons take, and how long
 * `pg_dump` takes for the same rows in the same run. The program makes schemas
 * on a server that it starts.
 *
 * ```sh
 * deno task bench:transfer --streams 20000 --blocks 456000
 * deno task bench:transfer --streams 1 --blocks 2000 --event-bytes 250000
 * ```
 */
import process from "node:process";
import { runProgram } from "./arguments.ts";
import { measure } from "./bench_transfer/measure.ts";
import { readArguments, usage } from "./bench_verify/arguments.ts";
import { DebianServer } from "./debian_server.ts";

/** Settings of a server in production, except for the smaller cache. */
const settings = { shared_buffers: "512MB", max_wal_size: "4GB" };

process.exitCode = await runProgram({
  usage: usage.replace("bench:verify", "bench:transfer"),
  readArguments,
  run: async (options) => {
    await using server = await DebianServer.start(settings);
    await measure(server.url, options);
    return 0;
  },
});
