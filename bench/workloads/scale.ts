/** The hot paths in a store that holds little and in one that holds much. */

import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { cycle, newStreamIds, randomBytes, times } from "../data.ts";
import type { Entrant } from "../entrant.ts";
import { plant } from "../plant.ts";
import { openSite, type Site } from "../site.ts";
import type { Sizes } from "../sizes.ts";
import type { BatchContender, Workload } from "../workload.ts";
import { hotPaths } from "./table.ts";

/** Two stores, loaded. */
export interface LoadedSites extends AsyncDisposable {
  few: Loaded;
  many: Loaded;
}

interface Loaded {
  entrant: Entrant;
  streamIds: readonly StreamId[];
}

/** Bytes of a loaded event and of a loaded block. */
const loadedBytes = 64;

/** Opens and loads both; 100 000 streams take minutes. */
export async function openLoadedSites(
  url: string,
  sizes: Sizes,
  options: Partial<StreamStorageOptions>,
  onProgress: (text: string) => void,
): Promise<LoadedSites> {
  await using stack = new AsyncDisposableStack();
  const load = async (streams: number): Promise<Loaded> => {
    const site = stack.use(await openSite(url, options));
    const streamIds = newStreamIds(streams);
    await plant(site, streamIds, {
      miniblockBytes: loadedBytes,
      events: sizes.loaded.events,
      eventBytes: loadedBytes,
    }, (planted) => onProgress(`loading, ${planted} of ${streams} streams`));
    await vacuum(site);
    const name = `${streams} streams`;
    return { entrant: { name, subject: site.storage, site }, streamIds };
  };
  const few = await load(sizes.loaded.few);
  const many = await load(sizes.loaded.many);
  const cleanUp = stack.move();
  return {
    few,
    many,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

/** What autovacuum would do sooner or later, and then at no matter what time. */
async function vacuum({ back, schema }: Site): Promise<void> {
  const { rows } = await back.query(
    `SELECT format('VACUUM (ANALYZE) %I.%I', schemaname, tablename) AS sql
     FROM pg_tables WHERE schemaname = $1`,
    [schema],
  );
  for (const { sql } of rows) await back.query(sql);
}

/** Every hot path, and two that go to what is loaded. */
export function scaleWorkloads(
  { few, many }: LoadedSites,
  sizes: Sizes,
): Workload[] {
  const rows = [
    ...hotPaths(sizes).map(({ id, title, unit, contender }) => ({
      id,
      title,
      unit,
      contender: ({ entrant }: Loaded) => contender(entrant),
    })),
    {
      id: "write-event-loaded",
      title: `writeEvent, ${sizes.writers} loaded streams at once`,
      unit: "events",
      contender: (loaded: Loaded) => loadedWrites(loaded, sizes),
    },
    {
      id: "read-stream-loaded",
      title: `readStreamFromLastSnapshot, ${sizes.readers} loaded streams ` +
        "at once",
      unit: "reads",
      contender: (loaded: Loaded) => loadedReads(loaded, sizes),
    },
  ];
  return rows.map(({ id, title, unit, contender }) => ({
    id: `scale-${id}`,
    title,
    unit,
    contenders: [contender(few), contender(many)],
    goals: [{
      of: many.entrant.name,
      to: few.entrant.name,
      measure: "time",
      atMost: 1.3,
    }],
  }));
}

/** Events to streams from all over the store; each client has its share. */
function loadedWrites(
  { entrant: { name, subject }, streamIds }: Loaded,
  { writers, minipoolEvents, loaded }: Sizes,
): BatchContender {
  const envelope = randomBytes(1024);
  const slots = new Map<StreamId, number>();
  const shares = times(
    Math.min(writers, streamIds.length),
    (client) => cycle(streamIds.filter((_, i) => i % writers === client)),
  );
  const write = (id: StreamId) => {
    const slot = slots.get(id) ?? loaded.events;
    slots.set(id, slot + 1);
    return () => subject.writeEvent(id, 1n, slot, envelope);
  };
  return {
    name,
    nextBatch: () =>
      Promise.resolve({
        clients: shares.map((next) =>
          times(minipoolEvents, () => write(next()))
        ),
      }),
  };
}

/** Reads of streams picked from all over the store. */
function loadedReads(
  { entrant: { name, subject }, streamIds }: Loaded,
  { readers, calls, loaded }: Sizes,
): BatchContender {
  const next = cycle(streamIds);
  const read = () => {
    const id = next();
    return async () => {
      const result = await subject.readStreamFromLastSnapshot(id, 0);
      if (result.minipoolEnvelopes.length < loaded.events) {
        throw new Error(`${name} did not read all of a stream`);
      }
    };
  };
  return {
    name,
    nextBatch: () =>
      Promise.resolve({
        clients: times(readers, () => times(Math.ceil(calls / 20), read)),
      }),
  };
}
