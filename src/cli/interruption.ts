/** How a command hears that it is to stop. */

import process from "node:process";
import { OutputClosedError } from "./cli.ts";

/** Ctrl-C or SIGTERM. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

/**
 * The first signal stops the work in good order, a second one at once: whatever
 * the work still waits for, the user gets the terminal back.
 */
export function onInterruption(): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new InterruptedError("Interrupted"));
  };
  const onOutputError = (error: Error & { code?: string }) => {
    // Whatever else happens to it, nobody would read what we say.
    controller.abort(new OutputClosedError("Output closed", { cause: error }));
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, stop);
  process.stdout.on("error", onOutputError);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of ["SIGINT", "SIGTERM"] as const) {
        process.off(name, stop);
      }
    },
  };
}
