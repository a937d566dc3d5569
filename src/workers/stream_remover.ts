import {
  listDeletions,
  removeLeftovers,
} from "../postgres/operations/leftovers.ts";
import { removeStrays } from "../postgres/operations/strays.ts";
import type { Store } from "../postgres/store.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { StreamFailures } from "./stream_failures.ts";
import type { Worker, WorkerReport } from "./worker.ts";

const name = "removeStreams";
const pageSize = 100;

/**
 * Removes what large streams had beside their rows, once those were deleted: see
 * leftovers.ts. Which these are is in a table, so a crash loses none. And, once
 * after each start, what we keep of streams that a node has deleted: it does so
 * while it owns the schema.
 */
export class StreamRemover implements Worker<WorkerReport> {
  readonly name = "stream_remover";
  readonly #store: Store;
  #hasStrays = true;

  constructor(store: Store) {
    this.#store = store;
  }

  /** All of them, each part in a transaction of its own. */
  async runOnce(signal: AbortSignal): Promise<WorkerReport> {
    const failures = new StreamFailures();
    let done = this.#hasStrays
      ? await removeStrays(this.#store, name, signal)
      : 0;
    this.#hasStrays = false;
    for (let after: StreamId | "" = "";;) {
      const page: StreamId[] = await listDeletions(this.#store, {
        after,
        limit: pageSize,
        name,
        signal,
      });
      for (const streamId of page) {
        const isDone = await failures.guard(streamId, signal, async () => {
          await removeLeftovers(this.#store, { name, streamId, signal });
          return true;
        });
        if (isDone) done++;
      }
      if (page.length < pageSize) {
        return { done, ...failures.reported, more: false };
      }
      after = page.at(-1)!;
    }
  }
}
