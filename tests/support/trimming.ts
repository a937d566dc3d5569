/** Streams to be trimmed, and what the trimmer has done with them. */
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { LogEvent } from "../../src/telemetry/log_events.ts";
import {
  newStreamId,
  plantedStream,
  run,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";
import type { MaintenanceStore } from "./maintenance_store.ts";

/** Options with which the trimmer runs in the background, and no sweeper. */
export const busy = { workerConcurrency: 2, ephemeralSweepIntervalMs: 0 };

/** A stream of these blocks, of which every n-th has a snapshot. */
export function everyNth(n: number, first: number, last: number) {
  return plantedStream(run(first, last), {
    snapshots: run(first, last).filter((number) => number % BigInt(n) === 0n),
  });
}

/** Writes the next block, with a snapshot. */
export async function addSnapshot(
  storage: PostgresStreamStorage,
  streamId: StreamId,
): Promise<void> {
  const next = await storage.getLastMiniblockNumber(streamId) + 1n;
  await storage.writeMiniblocks(
    streamId,
    [snapshotBlock(next)],
    { generation: next + 1n, envelopes: [] },
    { generation: next, size: 0 },
  );
}

/** So many channels, by their ids in ascending order. */
export function channelIds(count: number): StreamId[] {
  return Array.from({ length: count }, () => newStreamId("channel")).sort();
}

/** Matches the log event of a run that has dealt with so many streams. */
export function trimmed(done: number): (event: LogEvent) => boolean {
  return ({ code, details }) =>
    code === "worker_ran" && details?.["worker"] === "stream_trimmer" &&
    details["done"] === done;
}

/** How many streams the trimmer has dealt with in the background. */
export function trimmings(store: MaintenanceStore): number {
  return store.events.filter(({ code, details }) =>
    code === "worker_ran" && details?.["worker"] === "stream_trimmer"
  ).reduce((sum, { details }) => sum + Number(details!["done"]), 0);
}
