/** The same work on little and on much: what the store's cost depends on. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamIds, randomBytes, times } from "../data.ts";
import type { Target } from "../target.ts";
import { insertStreams } from "../insert_streams.ts";
import type { BatchVariant } from "../workload.ts";
import { expectRows } from "./writes.ts";

/** writeEvent of 1 KB, one at a time, into new minipools of some events. */
export function writesAfter(
  target: Target,
  { present, calls }: { present: number; calls: number },
): BatchVariant {
  const { name, storage, setup } = target;
  const envelope = randomBytes(1024);
  const perStream = 10;
  return {
    name,
    async nextBatch() {
      const streamIds = newStreamIds(Math.ceil(calls / perStream));
      await insertStreams(setup, streamIds, { events: present });
      return {
        clients: [
          streamIds.flatMap((id) =>
            times(
              perStream,
              (i) => () => storage.writeEvent(id, 1n, present + i, envelope),
            )
          ),
        ],
        check: () =>
          expectRows(target, streamIds, {
            streams: streamIds.length,
            miniblocks: streamIds.length,
            events: streamIds.length * (present + perStream),
          }),
      };
    },
  };
}

/** The same into one minipool that is filled once and only grows. */
export function writesIntoOne(
  target: Target,
  { present, calls }: { present: number; calls: number },
): BatchVariant {
  const { name, storage, setup } = target;
  const envelope = randomBytes(1024);
  const [streamId] = newStreamIds(1) as [StreamId];
  let slot: number | undefined;
  return {
    name,
    async nextBatch() {
      if (slot === undefined) {
        await insertStreams(setup, [streamId], { events: present });
        slot = present;
      }
      const first = slot;
      slot += calls;
      return {
        clients: [
          times(
            calls,
            (i) => () => storage.writeEvent(streamId, 1n, first + i, envelope),
          ),
        ],
        check: () =>
          expectRows(target, [streamId], {
            streams: 1,
            miniblocks: 1,
            events: first + calls,
          }),
      };
    },
  };
}

/** How long the stream is, and whether it is the same for all batches. */
export interface LifeOfStream {
  present: number;
  isKept: boolean;
  calls: number;
}

/**
 * A block of 1 KB with a snapshot at the end of a stream that has some blocks,
 * then a read of the last ten: what a long life of a stream costs.
 */
export function lifeOfStream(
  target: Target,
  { present, isKept, calls }: LifeOfStream,
): BatchVariant {
  const { name, storage, setup } = target;
  const data = randomBytes(1024);
  const snapshot = randomBytes(64);
  const live = async (streamId: StreamId, number: bigint) => {
    await storage.writeMiniblocks(
      streamId,
      [{ number, data, snapshot }],
      { generation: number + 1n, envelopes: [] },
      { generation: number, size: 0 },
    );
    const read = await storage.readStreamFromLastSnapshot(streamId, 9);
    const blocks = read.miniblocks.length;
    if (blocks !== 10) throw new Error(`${name} read ${blocks} blocks`);
  };
  let streamId: StreamId | undefined;
  let length = 0;
  return {
    name,
    async nextBatch() {
      if (streamId === undefined || !isKept) {
        [streamId] = newStreamIds(1) as [StreamId];
        await insertStreams(setup, [streamId], { miniblocks: present });
        length = present;
      }
      const id = streamId;
      const first = length;
      length += calls;
      return {
        clients: [times(calls, (i) => () => live(id, BigInt(first + i)))],
        check: () =>
          expectRows(target, [id], {
            streams: 1,
            miniblocks: first + calls,
            events: 0,
          }),
      };
    },
  };
}
