/** What a store on a cluster and one on a plain server are compared in. */
import type { PostgresStreamStorage, StreamId } from "../../mod.ts";
import {
  newStreamId,
  snapshotBlock,
} from "../../src/testing/contract/support.ts";

/** Does as much as fits into so many milliseconds; how often a second. */
export type Work = (storage: PostgresStreamStorage, ms: number) => Promise<
  number
>;

const event = new Uint8Array(300).fill(7);
const block = new Uint8Array(10 * 1024).fill(7);
const small = new Uint8Array(2048).fill(7);

/** Events of a generation. */
const generationSize = 50;

/** Calls `once` for so many callers at a time until the time is over; how often a second. */
async function byCallers(
  callers: number,
  ms: number,
  once: (caller: number) => Promise<unknown>,
): Promise<number> {
  const since = performance.now();
  const end = since + ms;
  let done = 0;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() < end) {
        await once(caller);
        done++;
      }
    }),
  );
  return done / (performance.now() - since) * 1000;
}

async function newStreams(
  storage: PostgresStreamStorage,
  count: number,
): Promise<StreamId[]> {
  const ids = Array.from({ length: count }, () => newStreamId());
  await Promise.all(
    ids.map((id) => storage.createStreamStorage(id, snapshotBlock(0))),
  );
  return ids;
}

/** Events of so many streams, and a block behind each generation. */
function events(streams: number): Work {
  return async (storage, ms) => {
    const ids = await newStreams(storage, streams);
    const slots = ids.map(() => 0);
    const generations = ids.map(() => 1n);
    return await byCallers(streams, ms, async (caller) => {
      const [id, generation] = [ids[caller]!, generations[caller]!];
      if (slots[caller] === generationSize) {
        await storage.writeMiniblocks(
          id,
          [{ number: generation, data: event, snapshot: event }],
          { generation: generation + 1n, envelopes: [] },
          { generation, size: generationSize },
        );
        generations[caller]!++;
        slots[caller] = 0;
      }
      await storage.writeEvent(id, generations[caller]!, slots[caller]!, event);
      slots[caller]!++;
    });
  };
}

const blocks: Work = async (storage, ms) => {
  const ids = await newStreams(storage, 8);
  const generations = ids.map(() => 1n);
  return await byCallers(ids.length, ms, async (caller) => {
    const generation = generations[caller]!++;
    await storage.writeMiniblocks(
      ids[caller]!,
      [{ number: generation, data: block }],
      { generation: generation + 1n, envelopes: [] },
      { generation, size: 0 },
    );
  });
};

const creations: Work = (storage, ms) =>
  byCallers(
    64,
    ms,
    () => storage.createStreamStorage(newStreamId(), snapshotBlock(0)),
  );

/** Ten blocks and ten events of 2 KB each, of one of 64 streams. */
function reads(callers: number): Work {
  const made = new WeakMap<PostgresStreamStorage, Promise<StreamId[]>>();
  return async (storage, ms) => {
    let streams = made.get(storage);
    if (streams === undefined) made.set(storage, streams = toRead(storage));
    const ids = await streams;
    return await byCallers(
      callers,
      ms,
      () =>
        storage.readStreamFromLastSnapshot(
          ids[Math.floor(Math.random() * ids.length)]!,
          10,
        ),
    );
  };
}

async function toRead(storage: PostgresStreamStorage): Promise<StreamId[]> {
  const ids = await newStreams(storage, 64);
  await Promise.all(ids.map((id) =>
    storage.writeMiniblocks(
      id,
      Array.from({ length: 10 }, (_, i) => ({
        number: BigInt(i + 1),
        data: small,
        ...(i === 9 && { snapshot: small }),
      })),
      { generation: 11n, envelopes: Array.from({ length: 10 }, () => small) },
      { generation: 1n, size: 0 },
    )
  ));
  return ids;
}

/** Every row of the table. */
export const works: Readonly<Record<string, Work>> = {
  "events, 400 streams": events(400),
  "events, 8 streams": events(8),
  "events, 1 stream": events(1),
  "blocks of 10 KB, 8 streams": blocks,
  "creation, 64 at once": creations,
  "reads of 10 + 10, 1 at once": reads(1),
  "reads of 10 + 10, 32 at once": reads(32),
};
