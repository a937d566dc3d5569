/**
 * Shows the storage at work: writes a realistic history into streams of every
 * type, reads everything back, compares every byte and shows what is stored.
 * See `usage` in demo/arguments.ts.
 *
 * ```sh
 * deno task demo
 * bun scripts/demo.ts
 * ```
 */
import { constants } from "node:os";
import process from "node:process";
import { isStreamStorageError } from "../mod.ts";
import { widthOf } from "../src/cli/screen.ts";
import { runProgram } from "./arguments.ts";
import { connectionUrl } from "./connection_url.ts";
import { readArguments, usage } from "./demo/arguments.ts";
import { Progress } from "./demo/progress.ts";
import { formatReport } from "./demo/report.ts";
import { runDemo } from "./demo/run.ts";
import { VerificationError } from "./demo/verifier.ts";

/** Why a run was stopped. */
class Interrupted extends Error {
  constructor(readonly signal: "SIGINT" | "SIGTERM") {
    super(`Stopped by ${signal}`);
  }
}

async function main(
  options: ReturnType<typeof readArguments>,
): Promise<number> {
  using interruption = onInterruption();
  try {
    const url = await connectionUrl(options);
    const demo = { ...options, url };
    const report = await watched((progress) =>
      runDemo(demo, progress, interruption.signal)
    );
    console.log(
      options.json
        ? JSON.stringify(report, null, 2)
        : formatReport(report, widthOf(process.stdout)),
    );
    return 0;
  } catch (error) {
    return explain(error, interruption.signal);
  }
}

/** Removes the progress bar before anything else is printed into its line. */
async function watched<T>(
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  using progress = new Progress(process.stderr);
  return await work(progress);
}

/**
 * Stops the run at the first signal, so that it cleans up; ignores later ones.
 */
function onInterruption(): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const listeners = names.map((name) => {
    const listener = () => controller.abort(new Interrupted(name));
    process.on(name, listener);
    return () => process.off(name, listener);
  });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => listeners.forEach((stop) => stop()),
  };
}

/** Prints the error and returns the exit code. */
function explain(error: unknown, signal: AbortSignal): number {
  if (error instanceof SuppressedError) {
    // Cleaning up failed as well. The first failure is printed first.
    const code = explain(error.suppressed, signal);
    explain(error.error, signal);
    return code;
  }
  const { reason } = signal;
  const stopped = error === reason || isStreamStorageError(error, "CANCELED");
  if (stopped && reason instanceof Interrupted) {
    console.error(reason.message);
    return 128 + constants.signals[reason.signal];
  }
  if (error instanceof VerificationError) {
    console.error(`Verification failed: ${error.message}`);
  } else if (isStreamStorageError(error)) {
    console.error(`${error.message} (${error.code})`);
  } else console.error(error instanceof Error ? error.message : error);
  return 1;
}

if (import.meta.main) {
  process.exitCode = await runProgram({ usage, readArguments, run: main });
}
