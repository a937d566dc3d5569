import { bind } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  checkExpired,
  insertMissingAges,
  mendAges,
  selectExpired,
} from "../sql/ephemeral_ages.ts";
import type { Store, StreamCall } from "../store.ts";
import { writeOwnRows, writeStream } from "../write_path/stream_write.ts";
import { removeRest, restAfter, streamGone } from "./leftovers.ts";
import { isGone } from "./recognise.ts";

const name = "sweepEphemeralStreams";
const pageSize = 1000;

/**
 * Adapts the table of ages to the streams and the clock. Streams without an
 * age, or with one in the future, get an age that starts now. Ages of streams
 * that are not ephemeral any more are deleted.
 *
 * Returns how many streams were seen for the first time.
 */
export async function alignEphemeralAges(
  store: Store,
  signal: AbortSignal,
): Promise<number> {
  const { catalog } = store;
  const size = BigInt(pageSize);
  let firstSeen = 0;
  for (let count = pageSize; count === pageSize; firstSeen += count) {
    const insert = bind(catalog.at("", insertMissingAges), size);
    [{ count }] = await writeOwnRows(store, { name, signal }, [insert]);
  }
  for (let after: string | null = ""; after !== null;) {
    const [{ rows: [row] }]: [{ rows: [string | null][] }] = await writeOwnRows(
      store,
      { name, signal },
      [bind(catalog.at("", mendAges), after, size)],
    );
    after = row?.[0] ?? null;
  }
  return firstSeen;
}

/** Ephemeral streams of this age, ascending, at most `limit` after an id. */
export async function listExpired(
  store: Store,
  { ttlMs, after, limit, signal }: {
    ttlMs: number;
    after: StreamId | "";
    limit: number;
    signal: AbortSignal;
  },
): Promise<StreamId[]> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(
      store.catalog.at("", selectExpired),
      after,
      BigInt(ttlMs),
      BigInt(limit),
    ),
  ]);
  return rows.map(([id]) => id as StreamId);
}

/**
 * Removes the whole stream if it is still ephemeral and old enough. The
 * transaction that removes it checks both under the stream's lock. Returns
 * false if the stream was sealed, deleted or created anew meanwhile; then it is
 * left alone.
 */
export async function removeExpired(
  store: Store,
  call: StreamCall,
  ttlMs: number,
): Promise<boolean> {
  const { catalog } = store;
  const { streamId } = call;
  let isRest = false;
  const isRemoved = await writeStream(store, call, {
    endsBeliefs: true,
    bound: [
      bind(catalog.of(streamId, checkExpired), streamId, BigInt(ttlMs)),
      ...streamGone(catalog, streamId),
    ],
    settle: (results) => {
      isRest = restAfter(results);
      return true;
    },
    refused: () => false,
    wasDone: (look) => isGone(store, look),
  });
  if (isRest) await removeRest(store, call);
  return isRemoved;
}
