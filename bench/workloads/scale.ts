/** Compares the hot paths in a store of few streams and in one of many. */

import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import { cycle, newStreamIds, randomBytes, times } from "../data.ts";
import type { Target } from "../target.ts";
import { insertStreams } from "../insert_streams.ts";
import { openSetup, type Setup } from "../setup.ts";
import type { Sizes } from "../sizes.ts";
import type { BatchVariant, Workload } from "../workload.ts";
import { hotPaths } from "./table.ts";

/** A store of few streams and one of many. */
export interface LoadedStores extends AsyncDisposable {
  few: LoadedStore;
  many: LoadedStore;
}

interface LoadedStore {
  target: Target;
  streamIds: readonly StreamId[];
}

/** Bytes of each event and of each block in these stores. */
const loadedBytes = 64;

/** Opens and fills both stores. 100 000 streams take minutes. */
export async function openLoadedStores(
  url: string,
  sizes: Sizes,
  options: Partial<StreamStorageOptions>,
  onProgress: (text: string) => void,
): Promise<LoadedStores> {
  await using stack = new AsyncDisposableStack();
  const load = async (streams: number): Promise<LoadedStore> => {
    const setup = stack.use(await openSetup(url, options));
    const streamIds = newStreamIds(streams);
    await insertStreams(setup, streamIds, {
      miniblockBytes: loadedBytes,
      events: sizes.loaded.events,
      eventBytes: loadedBytes,
    }, (inserted) => onProgress(`loading, ${inserted} of ${streams} streams`));
    await vacuum(setup);
    const name = `${streams} streams`;
    return { target: { name, storage: setup.storage, setup }, streamIds };
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

/**
 * Vacuums, because autovacuum would otherwise do so in the middle of a
 * measurement.
 */
async function vacuum({ direct, schema }: Setup): Promise<void> {
  const { rows } = await direct.query(
    `SELECT format('VACUUM (ANALYZE) %I.%I', schemaname, tablename) AS sql
     FROM pg_tables WHERE schemaname = $1`,
    [schema],
  );
  for (const { sql } of rows) await direct.query(sql);
}

/**
 * Every hot path, and two paths that use the streams with which a store was
 * filled.
 */
export function scaleWorkloads(
  { few, many }: LoadedStores,
  sizes: Sizes,
): Workload[] {
  const rows = [
    ...hotPaths(sizes).map(({ id, title, unit, variant }) => ({
      id,
      title,
      unit,
      variant: ({ target }: LoadedStore) => variant(target),
    })),
    {
      id: "write-event-loaded",
      title: `writeEvent, ${sizes.writers} loaded streams at once`,
      unit: "events",
      variant: (loaded: LoadedStore) => loadedWrites(loaded, sizes),
    },
    {
      id: "read-stream-loaded",
      title: `readStreamFromLastSnapshot, ${sizes.readers} loaded streams ` +
        "at once",
      unit: "reads",
      variant: (loaded: LoadedStore) => loadedReads(loaded, sizes),
    },
  ];
  return rows.map(({ id, title, unit, variant }) => ({
    id: `scale-${id}`,
    title,
    unit,
    variants: [variant(few), variant(many)],
    goals: [{
      of: many.target.name,
      to: few.target.name,
      measure: "time",
      atMost: 1.3,
    }],
  }));
}

/**
 * Writes events to streams of the whole store; each client has its share of
 * them.
 */
function loadedWrites(
  { target: { name, storage }, streamIds }: LoadedStore,
  { writers, minipoolEvents, loaded }: Sizes,
): BatchVariant {
  const envelope = randomBytes(1024);
  const slots = new Map<StreamId, number>();
  const shares = times(
    Math.min(writers, streamIds.length),
    (client) => cycle(streamIds.filter((_, i) => i % writers === client)),
  );
  const write = (id: StreamId) => {
    const slot = slots.get(id) ?? loaded.events;
    slots.set(id, slot + 1);
    return () => storage.writeEvent(id, 1n, slot, envelope);
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

/** Reads streams of the whole store. */
function loadedReads(
  { target: { name, storage }, streamIds }: LoadedStore,
  { readers, calls, loaded }: Sizes,
): BatchVariant {
  const next = cycle(streamIds);
  const read = () => {
    const id = next();
    return async () => {
      const result = await storage.readStreamFromLastSnapshot(id, 0);
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
