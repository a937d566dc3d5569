/**
 * The rules that a stream must meet to be exported and imported. A stream that
 * breaks them would not load. Export and import check the same rules, so that
 * no export is refused later.
 */

import type { StreamStorageError } from "../../../storage/errors.ts";
import { fault } from "../../../storage/fault.ts";
import type { MiniblockRow } from "../../../storage/rules.ts";
import type { StreamHead, StreamTail } from "./model.ts";

/** The reason of a stream that breaks a rule. */
export const brokenStream = "broken_stream";

/** Checks the rules for one stream, part by part in their order. */
export class StreamRules {
  readonly #head: StreamHead;
  #last = -1n;

  constructor(head: StreamHead) {
    this.#head = head;
    if (head.latestSnapshot < 0n) {
      throw this.#broken("no latest snapshot below 0", head.latestSnapshot);
    }
  }

  /** The number of the last block so far, -1 without any. */
  get last(): bigint {
    return this.#last;
  }

  /** Checks the next block. */
  block({ number, data }: MiniblockRow): void {
    if (number <= this.#last) {
      throw this.#broken(`a block above ${this.#last}`, number);
    }
    if (data.length === 0) {
      throw this.#broken("data", `none in block ${number}`);
    }
    this.#last = number;
  }

  /**
   * Checks the minipool and the candidates; `last` is the stream's last block.
   */
  tail({ minipool, candidates }: StreamTail, last = this.#last): void {
    const { kind } = this.#head;
    const next = last + 1n;
    if (next === 0n && kind !== "archive") throw this.#broken("blocks", "none");
    if ((minipool !== undefined) !== (kind === "regular")) {
      const found = minipool ? "one" : "none";
      throw this.#broken("a minipool only of a regular stream", found);
    }
    if (minipool && minipool.generation !== next) {
      throw this.#broken(`minipool generation ${next}`, minipool.generation);
    }
    if (minipool?.envelopes.some(({ length }) => length === 0)) {
      throw this.#broken("events", "an empty one");
    }
    let before = "";
    for (const { number, hash, data } of candidates) {
      const key = `${String(number).padStart(20, "0")} ${hash}`;
      if (number < next || key <= before || data.length === 0) {
        throw this.#broken(`candidates from ${next} on, in order`, number);
      }
      before = key;
    }
  }

  #broken(expected: string, found: unknown): StreamStorageError {
    const { streamId } = this.#head;
    return fault(
      "FAILED_PRECONDITION",
      brokenStream,
      `Stream ${streamId} is broken: expected ${expected}, found ${found}`,
      { streamId },
    );
  }
}
