/** Variants of the write paths, for any target. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamIds, randomBytes, times } from "../data.ts";
import type { Target } from "../target.ts";
import { countRows, insertStreams, type RowCounts } from "../insert_streams.ts";
import type { BatchVariant, MeasuredWrites, Operation } from "../workload.ts";

/** Bytes of an event and of a genesis. */
const smallBytes = 1024;
const blockBytes = 10 * 1024;

/** Clients that write events, each to one stream at a time. */
export interface EventWrites {
  clients: number;
  /** Streams that a client writes to in a batch, one after another. */
  streamsPerClient: number;
  /**
   * Events that the client writes to each stream before it takes the next one.
   */
  events: number;
}

/**
 * Calls writeEvent with 1 KB, on minipools that grow from empty to `events`.
 */
export function eventWrites(
  target: Target<MeasuredWrites>,
  { clients, streamsPerClient, events }: EventWrites,
): BatchVariant {
  const { name, storage, setup } = target;
  const envelope = randomBytes(smallBytes);
  return {
    name,
    async nextBatch() {
      const streamIds = newStreamIds(clients * streamsPerClient);
      await insertStreams(setup, streamIds, {});
      return {
        clients: times(clients, (client) =>
          streamIds
            .slice(client * streamsPerClient, (client + 1) * streamsPerClient)
            .flatMap((id) =>
              times(events, (slot) => () =>
                storage.writeEvent(id, 1n, slot, envelope))
            )),
        check: () =>
          expectRows(target, streamIds, {
            streams: streamIds.length,
            miniblocks: streamIds.length,
            events: streamIds.length * events,
          }),
      };
    },
  };
}

/**
 * Calls writeMiniblocks with one block of 10 KB. Each call replaces the events
 * of 1 KB in the minipool by as many new ones. One client takes the streams in
 * turn.
 */
export function minipoolSwaps(
  target: Target<MeasuredWrites>,
  { calls, events }: { calls: number; events: number },
): BatchVariant {
  const { name, storage, setup } = target;
  const data = randomBytes(blockBytes);
  const envelopes = times(events, () => randomBytes(smallBytes));
  const swapsPerStream = 10;
  return {
    name,
    async nextBatch() {
      const streams = Math.ceil(calls / swapsPerStream);
      const streamIds = newStreamIds(streams);
      await insertStreams(setup, streamIds, { events });
      const swap = (id: StreamId, number: bigint): Operation => () =>
        storage.writeMiniblocks(
          id,
          [{ number, data }],
          { generation: number + 1n, envelopes },
          { generation: number, size: events },
        );
      return {
        clients: [
          streamIds.flatMap((id) =>
            times(swapsPerStream, (nth) => swap(id, BigInt(nth + 1)))
          ),
        ],
        check: () =>
          expectRows(target, streamIds, {
            streams,
            miniblocks: streams * (1 + swapsPerStream),
            events: streams * events,
          }),
      };
    },
  };
}

/** Calls writeMiniblocks with many blocks of 10 KB, once for each stream. */
export function manyBlockWrites(
  target: Target<MeasuredWrites>,
  { calls, blocks }: { calls: number; blocks: number },
): BatchVariant {
  const { name, storage, setup } = target;
  const data = randomBytes(blockBytes);
  const miniblocks = times(blocks, (i) => ({ number: BigInt(i + 1), data }));
  const generation = BigInt(blocks + 1);
  return {
    name,
    async nextBatch() {
      const streamIds = newStreamIds(calls);
      await insertStreams(setup, streamIds, {});
      return {
        clients: [
          streamIds.map((id) => () =>
            storage.writeMiniblocks(
              id,
              miniblocks,
              { generation, envelopes: [] },
              { generation: 1n, size: 0 },
            )
          ),
        ],
        check: () =>
          expectRows(target, streamIds, {
            streams: calls,
            miniblocks: calls * (1 + blocks),
            events: 0,
          }),
      };
    },
  };
}

/** Calls createStreamStorage with a genesis of 1 KB and a snapshot of 1 KB. */
export function creations(
  target: Target<MeasuredWrites>,
  { clients, calls }: { clients: number; calls: number },
): BatchVariant {
  const { name, storage } = target;
  const genesis = {
    number: 0n,
    data: randomBytes(smallBytes),
    snapshot: randomBytes(smallBytes),
  };
  return {
    name,
    nextBatch() {
      const streamIds = newStreamIds(clients * calls);
      return Promise.resolve({
        clients: times(
          clients,
          (client) =>
            streamIds.slice(client * calls, (client + 1) * calls).map(
              (id) => () => storage.createStreamStorage(id, genesis),
            ),
        ),
        check: () =>
          expectRows(target, streamIds, {
            streams: streamIds.length,
            miniblocks: streamIds.length,
            events: 0,
          }),
      });
    },
  };
}

/** Throws unless exactly these rows of the streams are stored. */
export async function expectRows(
  { name, setup }: Pick<Target, "name" | "setup">,
  streamIds: readonly StreamId[],
  expected: RowCounts,
): Promise<void> {
  const counted = await countRows(setup, streamIds);
  if (JSON.stringify(counted) !== JSON.stringify(expected)) {
    throw new Error(
      `Rows of ${name} are wrong, expected ${JSON.stringify(expected)}, ` +
        `received ${JSON.stringify(counted)}`,
    );
  }
}
