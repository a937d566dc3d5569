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
 * Removes what deleted large streams have left beside their rows: see
 * leftovers.ts. A table lists these streams, so a crash loses none. Once after
 * each start it also removes our rows of streams that a node has deleted while
 * it owned the schema.
 */
export class StreamRemover implements Worker<WorkerReport> {
  readonly name = "stream_remover";
  readonly #store: Store;
  #hasStrays = true;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Removes all leftovers, each part in a transaction of its own. */
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
