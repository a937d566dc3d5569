/** Variants of the read paths, for any target. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { cycle, newStreamIds, times } from "../data.ts";
import type { Target } from "../target.ts";
import { insertStreams, type Shape } from "../insert_streams.ts";
import type { Setup } from "../setup.ts";
import type { BatchVariant, Operation } from "../workload.ts";

/** Streams that the first call of `streamIds` inserts. */
export interface PreparedStreams {
  setup: Setup;
  shape: Shape;
  streamIds(): Promise<readonly StreamId[]>;
}

/** Prepares some streams of one shape, which several batches read. */
export function preparedStreams(
  setup: Setup,
  count: number,
  shape: Shape,
): PreparedStreams {
  let planting: Promise<readonly StreamId[]> | undefined;
  return {
    setup,
    shape,
    streamIds() {
      return planting ??= (async () => {
        const streamIds = newStreamIds(count);
        await insertStreams(setup, streamIds, shape);
        return streamIds;
      })();
    },
  };
}

/** How many clients read at once, and how many times each. */
export interface Readers {
  clients: number;
  calls: number;
}

/**
 * Reads whole streams with readStreamFromLastSnapshot, and counts every result.
 */
export function streamReads(
  { name, storage }: Target,
  streams: PreparedStreams,
  readers: Readers,
): BatchVariant {
  const { miniblocks = 1, miniblockBytes, events = 0 } = streams.shape;
  const read = (id: StreamId): Operation => async () => {
    const result = await storage.readStreamFromLastSnapshot(id, 0);
    const isWhole = result.miniblocks.length === miniblocks &&
      result.miniblocks.at(-1)!.data.length === miniblockBytes &&
      result.minipoolEnvelopes.length === events;
    if (!isWhole) throw new Error(`${name} did not read all of a stream`);
  };
  return { name, nextBatch: () => readersOf(streams, readers, read) };
}

/** Reads whole streams with readMiniblocks, and counts every result. */
export function rangeReads(
  { name, storage }: Target,
  streams: PreparedStreams,
  readers: Readers,
): BatchVariant {
  const { miniblocks = 1, miniblockBytes } = streams.shape;
  const read = (id: StreamId): Operation => async () => {
    const result = await storage.readMiniblocks(id, 0n, BigInt(miniblocks));
    const isWhole = result.miniblocks.length === miniblocks &&
      result.miniblocks.at(-1)!.data.length === miniblockBytes &&
      result.terminus;
    if (!isWhole) throw new Error(`${name} did not read all the blocks`);
  };
  return { name, nextBatch: () => readersOf(streams, readers, read) };
}

async function readersOf(
  streams: PreparedStreams,
  { clients, calls }: Readers,
  read: (id: StreamId) => Operation,
) {
  const next = cycle(await streams.streamIds());
  return { clients: times(clients, () => times(calls, () => read(next()))) };
}
