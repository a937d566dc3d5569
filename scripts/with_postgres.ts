/**
 * Runs a command with STREAM_STORAGE_TEST_URL set, to the value it has already
 * or else to an embedded server that ends with the command, and exits as the
 * command does.
 *
 * ```sh
 * deno run -A scripts/with_postgres.ts bun test ./tests
 * ```
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { testServerSettings } from "../tests/support/database.ts";

const variable = "STREAM_STORAGE_TEST_URL";

async function main([command, ...args]: string[]): Promise<number> {
  if (command === undefined) {
    console.error("Usage: with_postgres.ts COMMAND [ARGUMENT...]");
    return 2;
  }
  const given = process.env[variable];
  if (given) return await run(command, args, given);
  await using server = await startEmbeddedPostgres({
    settings: testServerSettings,
  });
  return await run(command, args, server.url);
}

/** The exit code of the command, 128 + n after signal n as shells have it. */
function run(command: string, args: string[], url: string): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: "inherit",
      env: { ...process.env, [variable]: url },
    });
    const stopForwarding = forwardSignals(child);
    child.once("error", (error) => {
      stopForwarding();
      console.error(`Cannot run ${command}: ${error.message}`);
      resolve(127);
    });
    child.once("exit", (code, signal) => {
      stopForwarding();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

/** Until the command has ended, a signal is the command's matter. */
function forwardSignals(child: ChildProcess): () => void {
  const signals: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  const forward = (signal: NodeJS.Signals) => {
    // Deno's child.kill would report this signal in place of the exit code.
    if (child.pid !== undefined) process.kill(child.pid, signal);
  };
  for (const signal of signals) process.on(signal, forward);
  return () => {
    for (const signal of signals) process.off(signal, forward);
  };
}

process.exitCode = await main(process.argv.slice(2));
