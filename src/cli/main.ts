/**
 * The operator's command line, which examines, checks, repairs and copies
 * stores.
 *
 * ```sh
 * export STREAM_STORAGE_URL=postgresql://user@host/database
 * deno run -A jsr:@towns/stream-storage/cli status
 * ```
 *
 * Every command is a function of `@towns/stream-storage/operator`, which programs
 * can call.
 *
 * @module
 */

import process from "node:process";
import { runProgram } from "./program.ts";

// The process ends by itself after the last output.
if (import.meta.main) await runProgram(process.argv.slice(2));
