import type { StreamId } from "../storage/stream_id.ts";

/** Hears what is left to do after a commit; see {@linkcode WorkNotices}. */
export interface WorkListener {
  /** A stream that was there has a new snapshot. */
  snapshotWritten(streamId: StreamId): void;
  /**
   * A deleted stream's rows have not all gone. False: nothing runs in the
   * background that would remove them.
   */
  restToRemove(): boolean;
  /** Something is to be moved into object storage, or deleted there. */
  mediaTask(): void;
}

/**
 * Tells the workers what commits have left for them. Operations are made before
 * the workers, and some run without any, so they know only this.
 */
export class WorkNotices implements WorkListener {
  #listener: WorkListener | undefined;

  /** The workers are there. */
  listen(listener: WorkListener): void {
    this.#listener = listener;
  }

  /** See {@linkcode WorkListener.snapshotWritten}. */
  snapshotWritten(streamId: StreamId): void {
    this.#listener?.snapshotWritten(streamId);
  }

  /** See {@linkcode WorkListener.restToRemove}. */
  restToRemove(): boolean {
    return this.#listener?.restToRemove() ?? false;
  }

  /** See {@linkcode WorkListener.mediaTask}. */
  mediaTask(): void {
    this.#listener?.mediaTask();
  }
}
