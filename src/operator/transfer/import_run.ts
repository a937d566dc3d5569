/** The writing half of an import; see import.ts. */

import { findLocation } from "../../postgres/operations/external_blocks.ts";
import type { Store, StreamCall } from "../../postgres/store.ts";
import { type StreamId, streamType } from "../../storage/stream_id.ts";
import {
  digestsOfBlock,
  mergeBlocks,
  storedDigests,
} from "./compare/blocks.ts";
import {
  type Comparison,
  judge,
  outlineOf,
  outlineOfParts,
} from "./compare/compare_stream.ts";
import {
  badFile,
  bytesOfBlocks,
  bytesOfTail,
  Counting,
  defaultConcurrency,
} from "./counting.ts";
import { Crowd } from "./crowd.ts";
import type { ExportEvent } from "./format/decode.ts";
import { readExport } from "./format/file.ts";
import type { StreamHead, StreamTail } from "./format/model.ts";
import { InOrder } from "./in_order.ts";
import type { ImportOptions, TransferSummary } from "./options.ts";
import { storedId } from "./source/stream_ids.ts";
import { decisionOf } from "./target/decide.ts";
import { ProblemError, problemOf } from "./problem.ts";
import { StreamWriter, type WriteDecision } from "./target/write_stream.ts";

const operation = "importStreams";

/** The stream that is being imported. */
interface Present {
  streamId: StreamId;
  writer: StreamWriter;
  ended: (isReported?: boolean) => void;
}

/** See the file's head. */
export class ImportRun {
  readonly #store: Store;
  readonly #options: ImportOptions;
  readonly #counting: Counting;
  readonly #order: InOrder;
  readonly #ids: ReadonlySet<string> | undefined;
  /** How streams that already exist compare with the file. */
  readonly #comparisons = new Map<StreamId, Comparison>();
  /** Whether the last stream of the earlier run has been passed. */
  #isBehind: boolean;
  #written = 0;
  #equal = 0;

  constructor(store: Store, options: ImportOptions) {
    this.#store = store;
    this.#options = options;
    this.#counting = new Counting(options);
    this.#order = new InOrder((id) => this.#counting.done(id));
    const { streamIds } = options;
    this.#ids = streamIds && new Set(streamIds.map(storedId));
    this.#isBehind = !options.after;
  }

  /** Writes all chosen streams of the file. */
  async run(): Promise<TransferSummary> {
    if (this.#options.existing === "extend") await this.#compareAll();
    await this.#writeAll();
    if (!this.#isBehind) {
      throw badFile("the stream after which to continue", "a file without it");
    }
    const { streams, problems, blocks, bytes, seconds } = this.#counting;
    return {
      ...{ streams, problems, blocks, bytes, seconds },
      written: this.#written,
      equal: this.#equal,
    };
  }

  #isChosen(streamId: StreamId): boolean {
    const { types } = this.#options;
    return (this.#ids === undefined || this.#ids.has(streamId)) &&
      (types === undefined || types.includes(streamType(streamId)));
  }

  #callOf(streamId: StreamId): StreamCall {
    return { name: operation, streamId, signal: this.#options.signal };
  }

  async #compareAll(): Promise<void> {
    const { file, signal } = this.#options;
    const events = readExport(file, signal);
    try {
      for (;;) {
        const { value, done } = await events.next();
        if (done) return;
        if (value.is === "begin" && this.#isChosen(value.head.streamId)) {
          await this.#compare(value.head, events);
        }
      }
    } finally {
      await events.return(undefined);
    }
  }

  async #compare(
    head: StreamHead,
    events: AsyncGenerator<ExportEvent>,
  ): Promise<void> {
    const { streamId } = head;
    const call = this.#callOf(streamId);
    const right = await outlineOf(this.#store, call);
    if (right === undefined) return;
    const file = new FileBlocks(events);
    const stored = storedDigests(this.#store, call, {
      from: 0n,
      last: right.last,
      isOutside: right.isOutside,
    });
    const verdict = await mergeBlocks(file.digests(), stored);
    await stored.return(undefined);
    const end = await file.end();
    if (end.is !== "end") return;
    const left = outlineOfParts(head, file.last, end.tail);
    this.#comparisons.set(streamId, judge(left, right, verdict));
  }

  async #writeAll(): Promise<void> {
    const { file, signal, concurrency = defaultConcurrency } = this.#options;
    const crowd = new Crowd(concurrency);
    let present: Present | undefined;
    try {
      for await (const event of readExport(file, signal)) {
        signal?.throwIfAborted();
        if (event.is === "begin") present = this.#begin(event.head);
        else if (present === undefined) continue;
        else if (event.is === "block") {
          if (!await this.#take(present, event)) present = undefined;
        } else if (event.is === "end") {
          const ending = present;
          present = undefined;
          await crowd.add(() => this.#end(ending, event.tail));
        } else {
          await present.writer.withdraw();
          present.ended(false);
          present = undefined;
        }
      }
      await crowd.end();
    } finally {
      await crowd.settle();
      await present?.writer.withdraw();
    }
  }

  /** Begins a stream; undefined if it is left as it is. */
  #begin(head: StreamHead): Present | undefined {
    const { streamId } = head;
    if (!this.#isBehind) {
      this.#isBehind = streamId === this.#options.after;
      return undefined;
    }
    if (!this.#isChosen(streamId)) return undefined;
    const ended = this.#order.begin(streamId);
    const writer = new StreamWriter(
      this.#store,
      this.#callOf(streamId),
      () => this.#decide(streamId),
    );
    const present = { streamId, writer, ended };
    if (this.#comparisons.get(streamId)?.status === "equal") {
      this.#equal++;
      ended();
      return undefined;
    }
    try {
      writer.begin(head);
      return present;
    } catch (error) {
      this.#leave(present, error);
      return undefined;
    }
  }

  async #decide(streamId: StreamId): Promise<WriteDecision> {
    const { existing = "refuse" } = this.#options;
    const comparison = this.#comparisons.get(streamId);
    if (comparison !== undefined) return decisionOf(comparison);
    const isThere =
      await findLocation(this.#store, this.#callOf(streamId)) !== undefined;
    if (!isThere) return { mode: "create" };
    if (existing === "replace") return { mode: "replace" };
    throw new ProblemError("exists", `Stream ${streamId} already exists`);
  }

  /** Takes a part of the stream. Returns whether more is wanted. */
  async #take(
    present: Present,
    { block }: Extract<ExportEvent, { is: "block" }>,
  ): Promise<boolean> {
    try {
      await this.#counting.passed(1, bytesOfBlocks([block]));
      await present.writer.blocks([block]);
      return true;
    } catch (error) {
      await present.writer.withdraw();
      this.#leave(present, error);
      return false;
    }
  }

  async #end(present: Present, tail: StreamTail): Promise<void> {
    try {
      await this.#counting.passed(0, bytesOfTail(tail));
      await present.writer.end(tail);
      this.#written++;
      present.ended();
    } catch (error) {
      await present.writer.withdraw();
      this.#leave(present, error);
    }
  }

  /**
   * Leaves the stream as it is. @throws the error, unless it concerns this
   *   stream alone.
   */
  #leave({ streamId, ended }: Present, error: unknown): void {
    const found = problemOf(error);
    if (found === undefined) throw error;
    this.#counting.problems++;
    const { problem, message } = found;
    this.#options.onProblem?.({ streamId, problem, what: message });
    ended();
  }
}

/** The blocks of the stream that has just begun. */
class FileBlocks {
  readonly #events: AsyncGenerator<ExportEvent>;
  #end: ExportEvent | undefined;
  last = -1n;

  constructor(events: AsyncGenerator<ExportEvent>) {
    this.#events = events;
  }

  async *digests() {
    for (;;) {
      const event = await this.#next();
      if (event.is !== "block") return;
      yield digestsOfBlock(event.block);
    }
  }

  /**
   * Passes over the remaining blocks and returns the part that has ended the
   * stream.
   */
  async end(): Promise<ExportEvent> {
    while (this.#end === undefined) await this.#next();
    return this.#end;
  }

  async #next(): Promise<ExportEvent> {
    const { value } = await this.#events.next();
    const event = value as ExportEvent;
    if (event.is === "block") this.last = event.block.number;
    else this.#end = event;
    return event;
  }
}
