import { canceled } from "../../storage/contract_errors.ts";
import { isStreamStorageError, withChanges } from "../../storage/errors.ts";
import type { StreamCall } from "../store.ts";

/**
 * Runs a write in parts, each a transaction of its own, until `part` returns
 * that there are no more. If a call fails in between, the parts before stay
 * done, and the next call continues there.
 */
export async function inParts(
  { signal }: StreamCall,
  part: () => Promise<{ isMore: boolean }>,
): Promise<void> {
  for (let done = 0;; done++) {
    try {
      signal?.throwIfAborted();
      const { isMore } = await part();
      if (!isMore) return;
    } catch (error) {
      if (done === 0) throw error;
      const isCanceled = signal?.aborted && error === signal.reason;
      throw partlyDone(isCanceled ? canceled(error) : error);
    }
  }
}

/** `rolled_back` would say that nothing was written. */
function partlyDone(error: unknown): unknown {
  if (!isStreamStorageError(error)) return error;
  return withChanges(error, {
    message: `${error.message}; a part is done`,
    outcome: "unknown",
    cause: error.cause ?? error,
  });
}
