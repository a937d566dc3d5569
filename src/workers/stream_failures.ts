import type { FailedStream } from "../postgres/maintenance.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { WorkerReport } from "./worker.ts";

const maxInARow = 3;
const maxListed = 1000;

/**
 * Skips streams that fail, so that one never blocks the others. When several
 * fail in a row, the streams are not the cause: the run gives up.
 */
export class StreamFailures {
  /** The first 1000 failures. */
  readonly list: FailedStream[] = [];
  count = 0;
  #inARow = 0;

  /** The failures as a worker reports them. */
  get reported(): Pick<WorkerReport, "failed" | "firstFailure"> {
    const [firstFailure] = this.list;
    return { failed: this.count, ...(firstFailure && { firstFailure }) };
  }

  /** Deals with one stream; returns undefined if it failed. */
  async guard<T>(
    streamId: StreamId,
    signal: AbortSignal,
    body: () => Promise<T>,
  ): Promise<T | undefined> {
    signal.throwIfAborted();
    try {
      const result = await body();
      this.#inARow = 0;
      return result;
    } catch (error) {
      if (signal.aborted || !isStreamStorageError(error)) throw error;
      this.count++;
      if (this.list.length < maxListed) {
        const reason = String(error.details["reason"] ?? "");
        this.list.push({ streamId, code: error.code, reason });
      }
      if (++this.#inARow >= maxInARow) throw error;
      return undefined;
    }
  }
}
