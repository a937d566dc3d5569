/** Goes through all streams of a store in pages. */

import { bind } from "../../database/statement.ts";
import type { ReadCore } from "../../postgres/read_core.ts";
import {
  partitionSuffix,
  type StreamId,
  type StreamType,
  streamType,
} from "../../storage/stream_id.ts";
import { locationOf } from "../location.ts";
import type { StreamLocation } from "../status/types.ts";
import type { Throttle } from "../verify/throttle.ts";
import { sizesOf, type StreamSizes } from "./sizes.ts";
import { countRows, selectRowsAfter, selectSizes } from "./sizes_sql.ts";

/** A stream's row. */
export interface StreamRow {
  streamId: StreamId;
  type: StreamType;
  isEphemeral: boolean;
  location: StreamLocation;
  latestSnapshot: bigint;
}

/** What a walk needs to read the store. */
export interface WalkContext {
  core: Pick<ReadCore, "catalog" | "transactions">;
  /** The name of the operation, for the server's and our own telemetry. */
  name: string;
  signal?: AbortSignal | undefined;
  throttle: Throttle;
}

const rowsPerPage = 2000n;
/** The number of partitions read in one flush. */
const perFlush = 64;
/** The number of concurrent flushes, each on a connection of its own. */
const concurrency = 4;
/** Roughly the cost of a row for the server, in bytes. */
const bytesPerRow = 100;

/** How many streams there are. */
export async function countStreams(
  { core, name, signal }: WalkContext,
): Promise<bigint> {
  const { catalog, transactions } = core;
  const select = bind(catalog.at("r00", countRows));
  const [{ rows }] = await transactions.read({ name, signal }, [select]);
  return rows[0]![0];
}

/**
 * Yields the rows of `es` after an id, in pages, optionally only those whose
 * ids begin with a prefix.
 */
export async function* walkRows(
  { core, name, signal }: WalkContext,
  { after, prefix }: { after: string; prefix: string },
): AsyncGenerator<StreamRow[]> {
  const { catalog, transactions } = core;
  const select = catalog.at("r00", selectRowsAfter);
  let from = prefix > after ? prefix : after;
  for (;;) {
    signal?.throwIfAborted();
    const [{ rows }] = await transactions.read({ name, signal }, [
      bind(select, from, rowsPerPage),
    ]);
    yield rows.filter(([id]) => id.startsWith(prefix)).map((
      [id, isEphemeral, letter, latestSnapshot],
    ) => ({
      streamId: id as StreamId,
      type: streamType(id as StreamId),
      isEphemeral,
      location: locationOf(letter),
      latestSnapshot,
    }));
    const last = rows.at(-1)?.[0];
    if (last === undefined || BigInt(rows.length) < rowsPerPage) return;
    // The ids are in order, so all ids with the prefix have been seen.
    if (last > prefix && !last.startsWith(prefix)) return;
    from = last;
  }
}

/**
 * Reads the sizes of streams, in the order of their ids. Deleted streams are
 * missing from the result.
 */
export async function readSizes(
  context: WalkContext,
  streamIds: readonly StreamId[],
): Promise<StreamSizes[]> {
  const { core, throttle, signal } = context;
  const { catalog } = core;
  const partitions = [
    ...Map.groupBy(streamIds, (id) => partitionSuffix(id, catalog.partitions)),
  ];
  const found: StreamSizes[] = [];
  const work = async () => {
    for (;;) {
      const some = partitions.splice(0, perFlush);
      if (some.length === 0) return;
      found.push(...await readFlush(context, some));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const rows = found.reduce(
    (sum, { blocks, events }) => sum + Number(blocks + events) + 1,
    0,
  );
  await throttle.spend(rows * bytesPerRow, signal);
  return found.sort((a, b) => a.streamId < b.streamId ? -1 : 1);
}

async function readFlush(
  { core, name, signal }: WalkContext,
  partitions: readonly [suffix: string, ids: StreamId[]][],
): Promise<StreamSizes[]> {
  signal?.throwIfAborted();
  const { catalog, transactions } = core;
  const results = await transactions.read(
    { name, signal },
    partitions.map(([suffix, ids]) =>
      bind(catalog.at(suffix, selectSizes), ids)
    ),
  );
  return results.flatMap(({ rows }) => rows.map(sizesOf));
}
