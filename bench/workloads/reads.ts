/** The work of the read paths, for any target. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { cycle, newStreamIds, times } from "../data.ts";
import type { Target } from "../target.ts";
import { insertStreams, type Shape } from "../insert_streams.ts";
import type { Setup } from "../setup.ts";
import type { BatchVariant, Operation } from "../workload.ts";

/** Streams that are inserted when they are first asked for. */
export interface PreparedStreams {
  setup: Setup;
  shape: Shape;
  streamIds(): Promise<readonly StreamId[]>;
}

/** Some streams of one shape, for all who read them. */
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

/** How many read at once, and how often each. */
export interface Readers {
  clients: number;
  calls: number;
}

/** readStreamFromLastSnapshot of whole streams; every result is counted. */
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

/** readMiniblocks of whole streams; every result is counted. */
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
