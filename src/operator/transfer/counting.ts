/**
 * Counts a transfer's blocks and bytes, reports progress, and limits the rate.
 */

import { fault, invalidArgument } from "../../storage/fault.ts";
import type { StreamStorageError } from "../../storage/errors.ts";
import type { MiniblockRow } from "../../storage/rules.ts";
import { Throttle } from "../verify/throttle.ts";
import type { StreamTail } from "./format/model.ts";
import type { TransferOptions } from "./options.ts";

/** The default number of streams that are worked on at the same time. */
export const defaultConcurrency = 16;

/** The bytes of blocks with their snapshots. */
export function bytesOfBlocks(blocks: readonly MiniblockRow[]): number {
  let bytes = 0;
  for (const { data, snapshot } of blocks) {
    bytes += data.length + (snapshot?.length ?? 0);
  }
  return bytes;
}

/** The bytes of a stream's minipool and candidates. */
export function bytesOfTail({ minipool, candidates }: StreamTail): number {
  let bytes = bytesOfBlocks(candidates);
  for (const { length } of minipool?.envelopes ?? []) bytes += length;
  return bytes;
}

/** The pause between two reports of progress within a stream. */
const notifyEveryMs = 200;

/** See the file's head. */
export class Counting {
  readonly #options: TransferOptions;
  readonly #throttle: Throttle;
  readonly #signal: AbortSignal | undefined;
  readonly #since = performance.now();
  #notifiedAt = performance.now();
  #after = "";
  streams = 0;
  blocks = 0;
  bytes = 0;
  problems = 0;

  constructor(options: TransferOptions & { signal?: AbortSignal }) {
    this.#options = options;
    this.#throttle = new Throttle(options.rate);
    this.#signal = options.signal;
  }

  /** Seconds since the beginning. */
  get seconds(): number {
    return Math.round(performance.now() - this.#since) / 1000;
  }

  /**
   * Counts blocks and bytes. Waits while the transfer is faster than its rate.
   */
  async passed(blocks: number, bytes: number): Promise<void> {
    this.blocks += blocks;
    this.bytes += bytes;
    // A large stream takes long, so progress is reported within it, too.
    if (performance.now() - this.#notifiedAt > notifyEveryMs) this.#notify();
    await this.#throttle.spend(bytes, this.#signal);
  }

  /** Counts a stream as done, with or without success. */
  done(streamId: string): void {
    this.streams++;
    this.#after = streamId;
    this.#notify();
  }

  #notify(): void {
    this.#notifiedAt = performance.now();
    const { streams, blocks, bytes } = this;
    this.#options.onProgress?.({ streams, blocks, bytes, after: this.#after });
  }
}

/** @throws {StreamStorageError} INVALID_ARGUMENT (`out_of_range`). */
export function checkTransferOptions(
  { rate, concurrency }: TransferOptions,
): void {
  const rules = [
    ["rate", rate, rate === undefined || rate > 0],
    [
      "concurrency",
      concurrency,
      concurrency === undefined ||
      (Number.isSafeInteger(concurrency) && concurrency > 0 &&
        concurrency <= 64),
    ],
  ] as const;
  for (const [argument, received, isGood] of rules) {
    if (isGood) continue;
    throw invalidArgument({
      argument,
      reason: "out_of_range",
      rule: argument === "rate"
        ? "must be a number of bytes above 0"
        : "must be a whole number from 1 to 64",
      received,
    });
  }
}

/** The error of a file that can't be made, read or resumed. */
export function badFile(expected: string, found: string): StreamStorageError {
  return fault(
    "BAD_CONFIG",
    "export_file",
    `The export's file can't be used: expected ${expected}, found ${found}`,
  );
}
