/** Reads, writes, opening and bare reads: rows that a worker measures. */

import { cycle, newStreamIds, randomBytes, times } from "../data.ts";
import { bareReads } from "./bare_read.ts";
import { throughput } from "./clock.ts";
import { largeStreamRows } from "./large_streams.ts";
import { memoryRows } from "./memory.ts";
import { pauseRows } from "./pauses.ts";
import type { Measure, Place, PrepareRow } from "./place.ts";
import type { PostgresStreamStorage, StreamId } from "../../mod.ts";

/** All of them, by their ids. */
export const workerRows: Record<string, PrepareRow> = {
  "read-100x10k": (place) => blockReads(place, 1),
  "read-100x10k-8": (place) => blockReads(place, 8),
  "read-10x50k-32": streamReads,
  "read-bare": bareReads,
  "write-100x10k": blockWrites,
  "write-cold": coldWrites,
  "open-again": (place) => Promise.resolve(() => place.reopen()),
  ...pauseRows,
  ...memoryRows,
  ...largeStreamRows,
};

const kib = 1024;
const small = new Uint8Array(100).fill(7);
const genesis = { number: 0n, data: small, snapshot: small };

/** Makes streams with so many blocks and events of a size. */
async function filled(
  { storage, sizes }: Place,
  { blocks, events, bytes }: { blocks: number; events: number; bytes: number },
): Promise<StreamId[]> {
  const ids = newStreamIds(sizes.streams);
  for (const id of ids) {
    const data = () => randomBytes(bytes);
    await storage.createStreamStorage(id, { ...genesis, data: data() });
    await storage.writeMiniblocks(
      id,
      times(blocks - 1, (i) => ({ number: BigInt(i + 1), data: data() })),
      { generation: BigInt(blocks), envelopes: times(events, data) },
      { generation: 1n },
    );
  }
  return ids;
}

async function blockReads(place: Place, clients: number): Promise<Measure> {
  const shape = { blocks: 100, events: 0, bytes: 10 * kib };
  const next = cycle(await filled(place, shape));
  return (seconds) =>
    throughput(
      clients,
      seconds,
      () => place.storage.readMiniblocks(next(), 0n, 100n),
      place.serverCpu,
    );
}

async function streamReads(place: Place): Promise<Measure> {
  const shape = { blocks: 10, events: 10, bytes: 50 * kib };
  const next = cycle(await filled(place, shape));
  return (seconds) =>
    throughput(
      32,
      seconds,
      () => place.storage.readStreamFromLastSnapshot(next(), 0),
      place.serverCpu,
    );
}

/** One call after another, each to a stream of its own. */
function blockWrites(place: Place): Promise<Measure> {
  const blocks = times(100, (i) => ({
    number: BigInt(i + 1),
    data: randomBytes(10 * kib),
  }));
  const next = { generation: 101n, envelopes: [] };
  return Promise.resolve((seconds) =>
    throughput(1, seconds, async (untimed) => {
      const { storage } = place;
      const [id] = newStreamIds(1);
      await untimed(() => storage.createStreamStorage(id!, genesis));
      await storage.writeMiniblocks(id!, blocks, next, { generation: 1n });
    })
  );
}

/**
 * First events of streams that this process does not know, against events of
 * streams that it knows.
 */
async function coldWrites(place: Place): Promise<Measure> {
  const { coldStreams, warmStreams } = place.sizes;
  const ids = newStreamIds(coldStreams + warmStreams);
  const left = [...ids];
  await Promise.all(times(64, async () => {
    for (let id; (id = left.pop()) !== undefined;) {
      await place.storage.createStreamStorage(id, genesis);
    }
  }));
  // The process has forgotten all of them.
  await place.reopen();
  const [cold, warm] = [ids.slice(0, coldStreams), ids.slice(coldStreams)];
  const first = writer(cold);
  const later = writer(warm);
  const clients = Math.min(400, coldStreams, warmStreams);
  await Promise.all(warm.map(() => later(place.storage)));
  return async (seconds) => {
    const measure = async (write: typeof first) =>
      (await throughput(clients, seconds, () => write(place.storage)))
        .perSecond!;
    const [coldPerSecond, warmPerSecond] = [
      await measure(first),
      await measure(later),
    ];
    const ratio = warmPerSecond / coldPerSecond;
    return { coldPerSecond, warmPerSecond, ratio };
  };
}

/** Writes the next event of the next stream. */
function writer(
  ids: readonly StreamId[],
): (storage: PostgresStreamStorage) => Promise<void> {
  let count = 0;
  return (storage) => {
    const nth = count++;
    const slot = Math.floor(nth / ids.length);
    return storage.writeEvent(ids[nth % ids.length]!, 1n, slot, small);
  };
}
