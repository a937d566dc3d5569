/**
 * For how long calls with much in them stop the event loop: the longest time
 * between two turns while the call runs.
 */
import { setTimeout as delay } from "node:timers/promises";
import { readFileSync } from "node:fs";
import type {
  MiniblockDescriptor,
  PostgresStreamStorage,
  StreamId,
} from "../../mod.ts";
import { newStreamIds, randomBytes, times } from "../data.ts";
import type { Place, PrepareRow } from "./place.ts";

type Call = () => Promise<unknown>;

/** A case of which each run needs something else. */
const each = (ready: (place: Place) => Promise<Call>) => (place: Place) =>
  Promise.resolve(() => ready(place));

const payload = new Uint8Array(100).fill(7);
const genesis = { number: 0n, data: payload, snapshot: payload };

async function created(storage: PostgresStreamStorage): Promise<StreamId> {
  const [id] = newStreamIds(1);
  await storage.createStreamStorage(id!, genesis);
  return id!;
}

function blocksOf(count: number): MiniblockDescriptor[] {
  return times(count, (i) => ({ number: BigInt(i + 1), data: payload }));
}

async function filled(
  { storage, sizes: { manyBlocks } }: Place,
): Promise<StreamId> {
  const id = await created(storage);
  await storage.writeMiniblocks(
    id,
    blocksOf(manyBlocks),
    {
      generation: BigInt(manyBlocks + 1),
      envelopes: times(manyBlocks, () => payload),
    },
    { generation: 1n },
  );
  return id;
}

/** Events of some streams, all at once. */
async function events(
  storage: PostgresStreamStorage,
  count: number,
  streams: number,
): Promise<Call> {
  const ids = await Promise.all(times(streams, () => created(storage)));
  return () =>
    Promise.all(
      times(count, (i) =>
        storage.writeEvent(
          ids[i % streams]!,
          1n,
          Math.floor(i / streams),
          payload,
        )),
    );
}

/** The cases, by the ids of their rows. */
const cases: Record<string, (place: Place) => Promise<() => Promise<Call>>> = {
  "pause-events-one": each(({ storage, sizes }) =>
    events(storage, sizes.manyEvents, 1)
  ),
  "pause-events-many": each(({ storage, sizes }) =>
    events(storage, sizes.manyEvents, sizes.eventStreams)
  ),
  "pause-write-blocks": each(async ({ storage, sizes }) => {
    const id = await created(storage);
    const blocks = blocksOf(sizes.manyBlocks);
    const next = { generation: BigInt(blocks.length + 1), envelopes: [] };
    return () => storage.writeMiniblocks(id, blocks, next, { generation: 1n });
  }),
  "pause-write-events": each(async ({ storage, sizes }) => {
    const id = await created(storage);
    const envelopes = times(sizes.manyBlocks, () => payload);
    const next = { generation: 2n, envelopes };
    return () =>
      storage.writeMiniblocks(id, blocksOf(1), next, { generation: 1n });
  }),
  "pause-reinitialize": each(({ storage, sizes }) => {
    const [id] = newStreamIds(1);
    const [first, ...rest] = blocksOf(sizes.manyBlocks);
    const blocks = [{ ...first!, snapshot: payload }, ...rest];
    return Promise.resolve(() =>
      storage.reinitializeStreamStorage(id!, blocks, 1n, false)
    );
  }),
  "pause-read-blocks": async (place) => {
    const id = await filled(place);
    const end = BigInt(place.sizes.manyBlocks + 1);
    return () =>
      Promise.resolve(() => place.storage.readMiniblocks(id, 0n, end));
  },
  "pause-read-stream": async (place) => {
    const id = await filled(place);
    return () =>
      Promise.resolve(() => place.storage.readStreamFromLastSnapshot(id, 0));
  },
  "pause-large-reads": async (place) => {
    const { storage, sizes } = place;
    const [id] = newStreamIds(1);
    const data = randomBytes(1_000_000);
    await storage.createStreamStorage(id!, { ...genesis, data });
    const read = () => place.storage.readMiniblocks(id!, 0n, 1n);
    return () =>
      Promise.resolve(() => Promise.all(times(sizes.largeReads, read)));
  },
};

/** The longest time between two turns of the event loop, in milliseconds. */
export interface Pause {
  ms: number;
  /**
   * The most processor time of the event loop's thread between two turns: what
   * the pause would be on a machine without other work. NaN if the system does not
   * show it.
   */
  cpuMs: number;
}

/** Measures how long the event loop stands still while the call runs. */
export async function longestPause(call: Call): Promise<Pause> {
  let last = performance.now();
  let lastCpu = threadCpuMs();
  let longest: Pause = { ms: 0, cpuMs: 0 };
  const turn = () => {
    const now = performance.now();
    const cpu = threadCpuMs();
    longest = {
      ms: Math.max(longest.ms, now - last),
      cpuMs: Math.max(longest.cpuMs, cpu - lastCpu),
    };
    last = now;
    lastCpu = cpu;
  };
  const timer = setInterval(turn, 1);
  // What was made ready before may still be cleaned up; that is no pause of ours.
  await delay(50);
  longest = { ms: 0, cpuMs: 0 };
  await call();
  turn();
  clearInterval(timer);
  return longest;
}

/** Linux shows it for the first thread, which runs JavaScript in Deno and Bun. */
function threadCpuMs(): number {
  try {
    return Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[0]) /
      1e6;
  } catch {
    return NaN;
  }
}

/** The cases as rows. */
export const pauseRows: Record<string, PrepareRow> = Object.fromEntries(
  Object.entries(cases).map(([id, prepare]): [string, PrepareRow] => [
    id,
    async (place) => {
      const ready = await prepare(place);
      return async () => ({ ...await longestPause(await ready()) });
    },
  ]),
);
