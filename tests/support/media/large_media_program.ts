/**
 * A program that offloads a large media stream, reads it and rehydrates it, while
 * the store serves other calls. It prints as JSON how its memory grew. Arguments:
 * url, schema, the bucket's options as JSON, the ids of a small stream and of the
 * large one.
 */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import {
  parseStreamId,
  type StreamId,
} from "../../../src/storage/stream_id.ts";
import {
  bytes,
  newStreamId,
  snapshotBlock,
} from "../../../src/testing/contract/support.ts";
import { takeArguments } from "../programs/program_arguments.ts";

/** What the program prints. */
export interface LargeMediaReport {
  blocks: number;
  bytes: number;
  /** Resident memory after a small stream was moved in the same way. */
  idleBytes: number;
  /** The largest growth of resident memory in each phase. */
  grownBytes: Record<"offload" | "read" | "rehydrate", number>;
  seconds: Record<"offload" | "read" | "rehydrate", number>;
  /** The other calls that were served meanwhile. */
  served: { writes: number; reads: number };
}

const [url, schema, bucket, small, large] = await takeArguments();

await using storage = await openStreamStorage({
  url: url!,
  schema: schema!,
  mediaStorage: JSON.parse(bucket!),
  workerConcurrency: 0,
  startupDelayMs: 0,
  operationTimeoutMs: 60_000,
});
const { maintenance } = storage;
const served = { writes: 0, reads: 0 };
let read = { blocks: 0, bytes: 0 };

/** Compares every byte of the stream, block by block. */
async function readBack(streamId: StreamId): Promise<void> {
  read = { blocks: 0, bytes: 0 };
  for await (const block of storage.streamMiniblocks(streamId, 0n, 2n ** 62n)) {
    if (block.number !== BigInt(read.blocks)) {
      throw new Error(
        `Expected block ${read.blocks}, received ${block.number}`,
      );
    }
    const { data } = block;
    if (block.number > 0n && !isChunk(data, Number(block.number))) {
      throw new Error(`Expected block ${block.number} as it was written`);
    }
    read.blocks++;
    read.bytes += data.length;
  }
}

/** Whether `chunk` makes these bytes; makes no copy, since memory is measured. */
function isChunk(data: Uint8Array, number: number): boolean {
  for (let i = 0; i < data.length; i++) {
    if (data[i] !== (i * 7 + number * 13) % 251) return false;
  }
  return true;
}

const steps = {
  offload: (streamId: StreamId) => maintenance.offloadMedia({ streamId }),
  read: readBack,
  rehydrate: (streamId: StreamId) => maintenance.rehydrateMedia(streamId),
};

/** Writes and reads other streams until the signal. */
async function serve(signal: AbortSignal): Promise<void> {
  const id = newStreamId();
  await storage.createStreamStorage(id, snapshotBlock(0));
  for (let slot = 0; !signal.aborted; slot++) {
    await storage.writeEvent(id, 1n, slot, bytes(`event ${slot}`));
    served.writes++;
    if (slot % 10 === 0) {
      await storage.readMiniblocks(id, 0n, 1n);
      served.reads++;
    }
    await delay(5);
  }
}

for (const step of Object.values(steps)) await step(parseStreamId(small!));
await delay(500); // lets the runtime return memory
const idleBytes = process.memoryUsage().rss;
const report: LargeMediaReport = {
  ...read,
  idleBytes,
  grownBytes: { offload: 0, read: 0, rehydrate: 0 },
  seconds: { offload: 0, read: 0, rehydrate: 0 },
  served,
};
const over = new AbortController();
const serving = serve(over.signal);
for (const [name, step] of Object.entries(steps)) {
  const key = name as keyof typeof steps;
  const sample = () => {
    const grown = process.memoryUsage().rss - idleBytes;
    report.grownBytes[key] = Math.max(report.grownBytes[key], grown);
  };
  const sampling = setInterval(sample, 10);
  const since = performance.now();
  await step(parseStreamId(large!));
  sample();
  clearInterval(sampling);
  report.seconds[key] = (performance.now() - since) / 1000;
}
over.abort();
await serving;
process.stdout.write(JSON.stringify({ ...report, ...read }));
