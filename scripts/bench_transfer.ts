/**
 * How long exports, imports, copies and comparisons take, beside `pg_dump` of the
 * same rows in the same run. Makes schemas of its own on a server of its own.
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

/** As a server of production keeps its data, but for the size of its cache. */
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
