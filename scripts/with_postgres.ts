/**
 * Runs a command with STREAM_STORAGE_TEST_URL, and exits as the command does.
 * If the variable is not set, the program starts an embedded server and stops
 * it after the command. With `--debian` it always starts a server of Debian's
 * package.
 *
 * ```sh
 * deno run -A scripts/with_postgres.ts bun test ./tests
 * ```
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { DebianServer } from "./debian_server.ts";
import { testServerSettings } from "../tests/support/database.ts";

const variable = "STREAM_STORAGE_TEST_URL";

async function main(words: string[]): Promise<number> {
  const isDebian = words[0] === "--debian";
  const [command, ...args] = isDebian ? words.slice(1) : words;
  if (command === undefined) {
    console.error("Usage: with_postgres.ts [--debian] COMMAND [ARGUMENT...]");
    return 2;
  }
  const given = process.env[variable];
  if (given && !isDebian) return await run(command, args, given);
  await using server = isDebian
    ? await DebianServer.start(testServerSettings)
    : await startEmbeddedPostgres({ settings: testServerSettings });
  return await run(command, args, server.url);
}

/**
 * Resolves with the command's exit code; after signal n with 128 + n, as in
 * shells.
 */
function run(command: string, args: string[], url: string): Promise<number> {
  return new Promise((resolve) => {
    // The command decides what a signal does. This process stays to stop the
    // server.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => forward(child.pid, signal));
    }
    const child = spawn(command, args, {
      stdio: "inherit",
      env: { ...process.env, [variable]: url },
    });
    child.once("error", (error) => {
      console.error(`Cannot run ${command}: ${error.message}`);
      resolve(127);
    });
    child.once("exit", (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/**
 * Avoids `child.kill`, after which Deno reports the signal as the cause of the
 * end.
 */
function forward(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, signal);
  } catch {
    // The command has just ended, perhaps because of the same Ctrl-C.
  }
}

process.exit(await main(process.argv.slice(2)));
