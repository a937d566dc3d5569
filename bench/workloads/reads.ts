/** The work of the read paths, for any entrant. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { cycle, newStreamIds, times } from "../data.ts";
import type { Entrant } from "../entrant.ts";
import { plant, type Shape } from "../plant.ts";
import type { Site } from "../site.ts";
import type { BatchContender, Operation } from "../workload.ts";

/** Streams that are planted when they are first asked for. */
export interface Planted {
  site: Site;
  shape: Shape;
  streamIds(): Promise<readonly StreamId[]>;
}

/** Some streams of one shape, for all who read them. */
export function planted(site: Site, count: number, shape: Shape): Planted {
  let planting: Promise<readonly StreamId[]> | undefined;
  return {
    site,
    shape,
    streamIds() {
      return planting ??= (async () => {
        const streamIds = newStreamIds(count);
        await plant(site, streamIds, shape);
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
  { name, subject }: Entrant,
  streams: Planted,
  readers: Readers,
): BatchContender {
  const { miniblocks = 1, miniblockBytes, events = 0 } = streams.shape;
  const read = (id: StreamId): Operation => async () => {
    const result = await subject.readStreamFromLastSnapshot(id, 0);
    const isWhole = result.miniblocks.length === miniblocks &&
      result.miniblocks.at(-1)!.data.length === miniblockBytes &&
      result.minipoolEnvelopes.length === events;
    if (!isWhole) throw new Error(`${name} did not read all of a stream`);
  };
  return { name, nextBatch: () => readersOf(streams, readers, read) };
}

/** readMiniblocks of whole streams; every result is counted. */
export function rangeReads(
  { name, subject }: Entrant,
  streams: Planted,
  readers: Readers,
): BatchContender {
  const { miniblocks = 1, miniblockBytes } = streams.shape;
  const read = (id: StreamId): Operation => async () => {
    const result = await subject.readMiniblocks(id, 0n, BigInt(miniblocks));
    const isWhole = result.miniblocks.length === miniblocks &&
      result.miniblocks.at(-1)!.data.length === miniblockBytes &&
      result.terminus;
    if (!isWhole) throw new Error(`${name} did not read all the blocks`);
  };
  return { name, nextBatch: () => readersOf(streams, readers, read) };
}

async function readersOf(
  streams: Planted,
  { clients, calls }: Readers,
  read: (id: StreamId) => Operation,
) {
  const next = cycle(await streams.streamIds());
  return { clients: times(clients, () => times(calls, () => read(next()))) };
}
