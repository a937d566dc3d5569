import type { StreamId } from "../storage/stream_id.ts";

/** Receives what a commit has left to do; see {@linkcode WorkNotices}. */
export interface WorkListener {
  /** An existing stream has a new snapshot. */
  snapshotWritten(streamId: StreamId): void;
  /** A deleted stream has rows left. False if no worker would remove them. */
  restToRemove(): boolean;
  /** A stream is to be moved into object storage, or an object deleted. */
  mediaTask(): void;
}

/**
 * Notifies the workers of what commits have left for them. Operations are made
 * before the workers, and some run without any, so operations know only this
 * class.
 */
export class WorkNotices implements WorkListener {
  #listener: WorkListener | undefined;

  /** Sets the listener, once there are workers. */
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
