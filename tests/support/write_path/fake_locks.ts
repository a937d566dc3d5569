import type { QueueLocks } from "../../../src/postgres/write_path/write_queue_options.ts";
import type { StreamId } from "../../../src/storage/stream_id.ts";

/** Locks of tables, each stream being a partition of its own. */
export class FakeLocks implements QueueLocks {
  /** What is locked, whether the queue knows of it or not. */
  readonly held = new Set<StreamId>();
  /** How often was asked. */
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

  /** The lock is given back, and that is noticed. */
  free(...streamIds: StreamId[]): Promise<void> {
    for (const id of streamIds) this.held.delete(id);
    return this.look();
  }
}
