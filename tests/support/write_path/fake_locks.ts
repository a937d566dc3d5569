import type { QueueLocks } from "../../../src/postgres/write_path/write_queue_options.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";

/** Locks of tables, where each stream has a partition of its own. */
export class FakeLocks implements QueueLocks {
  /** The locked partitions, whether or not the queue knows of them. */
  readonly held = new Set<StreamId>();
  /** The number of looks at the locks. */
  looks = 0;
  #known = new Map<StreamId, number>();
  #listener = () => {};

  readonly since = (streamId: StreamId): number | undefined =>
    this.#known.get(streamId);

  readonly look = (): Promise<void> => {
    this.looks++;
    const now = performance.now();
    this.#known = new Map(
      [...this.held].map((id) => [id, this.#known.get(id) ?? now]),
    );
    this.#listener();
    return Promise.resolve();
  };

  readonly onChange = (listener: () => void): void => {
    this.#listener = listener;
  };

  /** Frees the locks, and lets the queue notice that. */
  free(...streamIds: StreamId[]): Promise<void> {
    for (const id of streamIds) this.held.delete(id);
    return this.look();
  }
}
