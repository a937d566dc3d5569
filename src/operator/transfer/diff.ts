/**
 * Compares the streams of two stores. The servers compute digests, so equal
 * data are not transferred.
 */

import { openReadCore } from "../../postgres/open_reader.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import type { StreamReaderOptions } from "../../postgres/reader_options.ts";
import type { ReadStore, StreamCall } from "../../postgres/store.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { compareStored, outlineOf } from "./compare/compare_stream.ts";
import { describeComparison } from "./compare/reasons.ts";
import {
  checkTransferOptions,
  Counting,
  defaultConcurrency,
} from "./counting.ts";
import { Crowd } from "./crowd.ts";
import { InOrder } from "./in_order.ts";
import type { TransferOptions } from "./options.ts";
import { sourceReaderOptions } from "./source/reader_options.ts";
import { type StreamChoice, streamIdsOf } from "./source/stream_ids.ts";
import { withTypedErrors } from "./typed_errors.ts";

const operation = "diffStreams";

/** A stream that differs between the two sides. */
export interface StreamDifference {
  /** The stream. */
  readonly streamId: string;
  /**
   * `left_only`, `right_only`: only that side has the stream. `behind`: the
   * right side lacks something that the left side has. `ahead`: the right side
   * has something more. `forked`: blocks with the same number have different
   * bytes.
   */
  readonly status: "left_only" | "right_only" | "behind" | "ahead" | "forked";
  /** The difference in words. */
  readonly what: string;
  /** The last block on the left, -1 without any; null where there is no stream. */
  readonly leftLast: bigint | null;
  /** The same on the right. */
  readonly rightLast: bigint | null;
}

/**
 * The options of {@linkcode diffStreams}: the two sides and the choice of
 * streams.
 */
export interface DiffOptions extends StreamChoice, TransferOptions {
  /** One store, with the options of `openStreamReader`. */
  left: StreamReaderOptions;
  /** The other store. */
  right: StreamReaderOptions;
  /** Where an earlier run has ended: the `after` of its last progress. */
  after?: string;
  /** Called for each stream that differs. */
  onDifference?: (difference: StreamDifference) => void;
  /** Stops the comparison. */
  signal?: AbortSignal;
}

/** The result of a comparison. */
export interface DiffSummary {
  /** Streams that either side has. */
  streams: number;
  /** Streams that are equal on both sides. */
  equal: number;
  /** Streams that differ. */
  different: number;
  /** Blocks that were compared. */
  blocks: number;
  /** Bytes of these blocks. */
  bytes: number;
  /** Seconds that the comparison took. */
  seconds: number;
}

/**
 * Compares the streams of two stores: blocks, snapshots, minipools, candidates,
 * latest snapshots. Both stores are only read. Streams that are written to
 * meanwhile may count as `behind`.
 *
 * @throws {StreamStorageError} as `openStreamReader`; `CANCELED`: the signal.
 */
export async function diffStreams(options: DiffOptions): Promise<DiffSummary> {
  return await withTypedErrors(operation, options.signal, async () => {
    checkTransferOptions(options);
    const { left, right, signal } = options;
    const open = (side: StreamReaderOptions) =>
      openReadCore(sourceReaderOptions({ ...side, ...(signal && { signal }) }));
    await using l = await open(left);
    await using r = await open(right);
    return await compareAll(storeOf(l), storeOf(r), options);
  });
}

/** The means to read a store in the background. */
export function storeOf({ catalog, transactions, media }: ReadCore): ReadStore {
  return { catalog, transactions, media, background: true };
}

async function compareAll(
  left: ReadStore,
  right: ReadStore,
  options: DiffOptions,
): Promise<DiffSummary> {
  const { signal, concurrency = defaultConcurrency } = options;
  const counting = new Counting(options);
  const order = new InOrder((id) => counting.done(id));
  const crowd = new Crowd(concurrency);
  let different = 0;
  const choice = { ...options, name: operation };
  const ids = unionOf(streamIdsOf(left, choice), streamIdsOf(right, choice));
  try {
    for await (const streamId of ids) {
      signal?.throwIfAborted();
      const ended = order.begin(streamId);
      await crowd.add(async () => {
        const call = { name: operation, streamId, signal };
        const found = await compareOne(call, left, right, counting);
        if (found !== undefined) {
          different++;
          options.onDifference?.(found);
        }
        ended();
      });
    }
    await crowd.end();
  } finally {
    await crowd.settle();
  }
  const { streams, blocks, bytes, seconds } = counting;
  const equal = streams - different;
  return { streams, equal, different, blocks, bytes, seconds };
}

async function compareOne(
  call: StreamCall,
  leftStore: ReadStore,
  rightStore: ReadStore,
  counting: Counting,
): Promise<StreamDifference | undefined> {
  const { streamId } = call;
  const [left, right] = await Promise.all([
    outlineOf(leftStore, call),
    outlineOf(rightStore, call),
  ]);
  const lasts = {
    leftLast: left?.last ?? null,
    rightLast: right?.last ?? null,
  };
  // A named stream that does not exist, or one that was deleted after it was
  // listed.
  if (left === undefined && right === undefined) return undefined;
  if (left === undefined || right === undefined) {
    const [status, side] = right === undefined
      ? ["left_only", "left"] as const
      : ["right_only", "right"] as const;
    return { streamId, status, what: `Only the ${side} has it`, ...lasts };
  }
  const comparison = await compareStored(call, {
    left: { store: leftStore, outline: left },
    right: { store: rightStore, outline: right },
    passed: (blocks, bytes) => counting.passed(blocks, bytes),
  });
  const { status } = comparison;
  if (status === "equal") return undefined;
  return { streamId, status, what: describeComparison(comparison), ...lasts };
}

/** Merges two ascending lists of ids, each id once. */
async function* unionOf(
  left: AsyncGenerator<StreamId>,
  right: AsyncGenerator<StreamId>,
): AsyncGenerator<StreamId> {
  try {
    let [l, r] = [await left.next(), await right.next()];
    while (!l.done || !r.done) {
      const isLeft = r.done || (!l.done && l.value <= r.value);
      const isRight = l.done || (!r.done && r.value <= l.value);
      yield (isLeft ? l : r).value!;
      [l, r] = [
        isLeft ? await left.next() : l,
        isRight ? await right.next() : r,
      ];
    }
  } finally {
    await Promise.all([left.return(undefined), right.return(undefined)]);
  }
}
