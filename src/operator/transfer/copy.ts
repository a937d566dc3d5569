/**
 * Copies streams from one store to another. Each stream is compared first, and
 * only what the target lacks is copied; then the stream is compared again. So
 * an interrupted copy is simply run again, and repeated runs follow a source
 * that is written to.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { openReadCore } from "../../postgres/open_reader.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { ReadStore, Store, StreamCall } from "../../postgres/store.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { openOwned, type OwnerOptions } from "../repair/owner.ts";
import {
  compareStored,
  type Comparison,
  outlineOf,
} from "./compare/compare_stream.ts";
import { describeComparison } from "./compare/reasons.ts";
import {
  bytesOfBlocks,
  bytesOfTail,
  checkTransferOptions,
  Counting,
  defaultConcurrency,
} from "./counting.ts";
import { Crowd } from "./crowd.ts";
import { storeOf } from "./diff.ts";
import { InOrder } from "./in_order.ts";
import type {
  StreamProblem,
  TransferOptions,
  TransferSummary,
  WhenStored,
} from "./options.ts";
import { passStream, type StreamTaker } from "./source/read_stream.ts";
import {
  sourceReaderOptions,
  targetOwnerOptions,
} from "./source/reader_options.ts";
import { type StreamChoice, streamIdsOf } from "./source/stream_ids.ts";
import { decisionOf } from "./target/decide.ts";
import { ProblemError, problemOf } from "./problem.ts";
import { StreamWriter, type WriteDecision } from "./target/write_stream.ts";
import { withTypedErrors } from "./typed_errors.ts";

const operation = "copyStreams";

/**
 * The options of {@linkcode copyStreams}: source, target and choice of streams.
 */
export interface CopyOptions extends StreamChoice, TransferOptions {
  /** The source, with the options of `openStreamReader`. */
  from: StreamReaderOptions;
  /** The target, which this process owns while it copies. */
  to: OwnerOptions;
  /**
   * What to do with streams that exist in the target. Default `extend`.
   * `replace` applies only to streams that can't be extended.
   */
  existing?: WhenStored;
  /**
   * Repeat until a whole round has found nothing to copy, for a source that is
   * written to meanwhile. Default false.
   */
  follow?: boolean;
  /** Where an earlier run has ended: the `after` of its last progress. */
  after?: string;
  /**
   * Called for each stream that the target does not have as the source has it.
   */
  onProblem?: (problem: StreamProblem) => void;
  /** Called after each round, with its summary. */
  onRound?: (round: TransferSummary) => void;
  /** Stops the copy. */
  signal?: AbortSignal;
}

/** Milliseconds between two rounds. */
const roundPauseMs = 1000;

/**
 * Copies streams to another store: another server, another number of
 * partitions, another schema. The source is only read, without any effect on
 * its owner. No other instance may own the target, unless `takeOver` is set.
 * Returns the summary of the last round.
 *
 * @throws {StreamStorageError} as `openStreamReader` and `openStreamStorage`;
 *   `RESOURCE_EXHAUSTED` (`schema_owned`): another instance owns the target;
 *   `CANCELED`: the signal. Streams that were copied by then stay.
 */
export async function copyStreams(
  options: CopyOptions,
): Promise<TransferSummary> {
  const { from, to, signal } = options;
  return await withTypedErrors(operation, signal, async () => {
    checkTransferOptions(options);
    const stop = signal && { signal };
    await using source = await openReadCore(
      sourceReaderOptions({ ...from, ...stop }),
    );
    await using target = await openOwned(
      targetOwnerOptions({ ...to, ...stop }),
    );
    const places = { from: storeOf(source), to: target.callers };
    for (let after = options.after;; after = undefined) {
      const round = await new Round(places, options).run(after);
      options.onRound?.(round);
      const isDone = round.written === 0 && after === undefined;
      if (!options.follow || isDone) return round;
      await sleep(roundPauseMs, undefined, stop);
    }
  });
}

/** One pass over the source. */
class Round {
  readonly #from: ReadStore;
  readonly #to: Store;
  readonly #options: CopyOptions;
  readonly #counting: Counting;
  #written = 0;
  #equal = 0;

  constructor(
    { from, to }: { from: ReadStore; to: Store },
    options: CopyOptions,
  ) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#counting = new Counting(options);
  }

  async run(after: string | undefined): Promise<TransferSummary> {
    const { signal, concurrency = defaultConcurrency } = this.#options;
    const order = new InOrder((id) => this.#counting.done(id));
    const crowd = new Crowd(concurrency);
    const choice = { ...this.#options, name: operation, after };
    try {
      for await (const streamId of streamIdsOf(this.#from, choice)) {
        signal?.throwIfAborted();
        const ended = order.begin(streamId);
        await crowd.add(async () => {
          await this.#copyOrReport(streamId);
          ended();
        });
      }
      await crowd.end();
    } finally {
      await crowd.settle();
    }
    const { streams, problems, blocks, bytes, seconds } = this.#counting;
    return {
      ...{ streams, problems, blocks, bytes, seconds },
      written: this.#written,
      equal: this.#equal,
    };
  }

  async #copyOrReport(streamId: StreamId): Promise<void> {
    try {
      await this.#copy({
        name: operation,
        streamId,
        signal: this.#options.signal,
      });
    } catch (error) {
      const found = problemOf(error);
      if (found === undefined) throw error;
      this.#counting.problems++;
      const { problem, message } = found;
      this.#options.onProblem?.({ streamId, problem, what: message });
    }
  }

  async #copy(call: StreamCall): Promise<void> {
    const before = await this.#compare(call);
    if (before === "gone") {
      // The stream was deleted after it was listed, or a named stream does not
      // exist.
      throw new ProblemError("gone", `Stream ${call.streamId} is gone`);
    }
    if (before !== "new" && before.status === "equal") {
      this.#equal++;
      return;
    }
    const decision = this.#decide(call.streamId, before);
    const writer = new StreamWriter(
      this.#to,
      call,
      () => Promise.resolve(decision),
    );
    const from = before !== "new" && decision.mode === "extend"
      ? before.firstMissing ?? before.left.last + 1n
      : 0n;
    const taker = this.#counted(writer);
    if (!await passStream(this.#from, call, { taker, from })) {
      throw new ProblemError("gone", `Stream ${call.streamId} is gone`);
    }
    this.#written++;
    await this.#check(call);
  }

  async #compare(call: StreamCall): Promise<Comparison | "new" | "gone"> {
    const [left, right] = await Promise.all([
      outlineOf(this.#from, call),
      outlineOf(this.#to, call),
    ]);
    if (left === undefined) return "gone";
    if (right === undefined) return "new";
    return await compareStored(call, {
      left: { store: this.#from, outline: left },
      right: { store: this.#to, outline: right },
      passed: async () => {},
    });
  }

  #decide(streamId: StreamId, before: Comparison | "new"): WriteDecision {
    const { existing = "extend" } = this.#options;
    if (before === "new") return { mode: "create" };
    if (existing === "refuse") {
      throw new ProblemError("exists", `Stream ${streamId} already exists`);
    }
    if (existing === "replace" && before.status !== "behind") {
      return { mode: "replace" };
    }
    return decisionOf(before);
  }

  /**
   * Compares a written stream with its source. If only the source has grown
   * meanwhile, that is no problem: the next round copies the rest.
   */
  async #check(call: StreamCall): Promise<void> {
    const after = await this.#compare(call);
    if (typeof after === "string" || after.status === "equal") return;
    throw new ProblemError("differs", describeComparison(after));
  }

  #counted(writer: StreamWriter): StreamTaker<true> {
    return {
      begin: (head) => writer.begin(head),
      blocks: async (blocks) => {
        await this.#counting.passed(blocks.length, bytesOfBlocks(blocks));
        await writer.blocks(blocks);
      },
      end: async (tail) => {
        await this.#counting.passed(0, bytesOfTail(tail));
        return await writer.end(tail);
      },
      withdraw: () => writer.withdraw(),
    };
  }
}
