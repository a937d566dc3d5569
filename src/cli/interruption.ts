/** Stops a command on Ctrl-C or SIGTERM, or when its output is closed. */

import process from "node:process";
import { OutputClosedError } from "./cli.ts";

/** The user or the system has interrupted the command. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
}

/**
 * The first signal stops the work in good order. A second one ends the process
 * at once, so that the user gets the terminal back even if the work hangs.
 */
export function onInterruption(): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new InterruptedError("Interrupted"));
  };
  const onOutputError = (error: Error & { code?: string }) => {
    // Any other failure of the output ends the command, too: no message could
    // be read.
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
