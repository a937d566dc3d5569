/** Workloads that do the same work on small and on large data. */

import type { StreamId } from "../../src/storage/stream_id.ts";
import { newStreamIds, randomBytes, times } from "../data.ts";
import type { Target } from "../target.ts";
import { insertStreams } from "../insert_streams.ts";
import type { BatchVariant } from "../workload.ts";
import { expectRows } from "./writes.ts";

/**
 * Calls writeEvent with 1 KB, one call at a time, on new minipools of some
 * events.
 */
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

/** Calls writeEvent as `writesAfter` does, on one minipool that only grows. */
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

/** How long the stream is, and whether all batches use the same one. */
export interface StreamLength {
  present: number;
  isKept: boolean;
  calls: number;
}

/**
 * Adds a block of 1 KB with a snapshot to a stream that has some blocks, then
 * reads the last ten. Shows what the length of a stream costs.
 */
export function writeThenRead(
  target: Target,
  { present, isKept, calls }: StreamLength,
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
