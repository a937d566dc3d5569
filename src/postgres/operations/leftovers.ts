/**
 * Removes a stream, however large it is.
 *
 * A stream is its row in `es`. Once that has gone the stream is gone for
 * everybody, so its deletion is one short transaction: the row, as many of the
 * others as go in a fraction of a second, and if some are left, a row in a table
 * of our own that says so. These *leftovers* go bit by bit (`StreamRemover`),
 * each bit a transaction of its own in the stream's turn, so what is done stays
 * done: after a crash, the next owner goes on.
 *
 * Nobody sees leftovers:
 *
 * - A read finds no row in `es`.
 * - A stream that is created under the same id finds them in its own
 *   transaction, which is stopped; the creating call removes them itself, and
 *   begins again. What is gone by its deadline stays gone for the next call.
 * - A node knows nothing of this. When it creates a stream it inserts block 0,
 *   which is there to the last (sql/deletions.ts), so it is refused until we are
 *   back. It can make an archive, or rebuild the stream from blocks above what is
 *   left. Then that stays, as the beginning of the stream: nobody could tell any
 *   more whose it is.
 */

import { bind, type Bound, type Result } from "../../database/statement.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { Catalog } from "../catalog.ts";
import {
  checkGone,
  checkNoLeftovers,
  deleteLastCandidates,
  deleteLastEvents,
  deleteLastMiniblocks,
  forgetDeletion,
  leftoversReason,
  noteRest,
  selectDeletions,
} from "../sql/deletions.ts";
import { deleteEphemeralAge, deleteStreamRow } from "../sql/streams.ts";
import { deleteTrimmingMark } from "../sql/trimming.ts";
import type { Store, StreamCall } from "../store.ts";
import { countOf } from "../write_path/queued_write.ts";
import {
  runAlone,
  type StreamWrite,
  writeStream,
} from "../write_path/stream_write.ts";

const maxNumber = 2n ** 63n - 1n;

/** The row of a stream goes, and with it what goes quickly; `noteRest` is last. */
export function streamGone(catalog: Catalog, streamId: StreamId) {
  return [
    bind(catalog.of(streamId, deleteStreamRow), streamId),
    bind(catalog.of(streamId, deleteEphemeralAge), streamId),
    bind(catalog.of(streamId, deleteTrimmingMark), streamId),
    ...someGone(catalog, streamId, maxNumber),
  ] as const;
}

/** Some of what the stream has beside its row; the last says if there is more. */
function someGone(catalog: Catalog, streamId: StreamId, upTo: bigint) {
  return [
    bind(catalog.of(streamId, deleteLastEvents), streamId),
    bind(catalog.of(streamId, deleteLastCandidates), streamId),
    bind(catalog.of(streamId, deleteLastMiniblocks), streamId, upTo),
    bind(catalog.of(streamId, noteRest), streamId),
  ] as const;
}

/** Whether the statements of `streamGone` have left anything, or that's not known. */
export function restAfter(results: readonly Result[] | undefined): boolean {
  return results === undefined || countOf(results.at(-1)!) > 0;
}

/** After the deletion was committed; the rest need not be waited for. */
export async function removeRest(
  store: Store,
  { name, streamId }: StreamCall,
): Promise<void> {
  if (store.notices.restToRemove()) return;
  // What fails here is done by whoever opens the store with workers.
  await removeLeftovers(store, { name, streamId }).catch(() => {});
}

/** Stops a creation where an earlier stream of this id has left anything. */
export function noLeftovers(catalog: Catalog, streamId: StreamId): Bound {
  return bind(catalog.of(streamId, checkNoLeftovers), streamId);
}

/** A creation that `noLeftovers` may stop: removes them and begins again. */
export function creating<B extends readonly Bound[]>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B, void>,
): StreamWrite<B, void> {
  return {
    ...write,
    refused: async (rejection) => {
      if (rejection.reason !== leftoversReason) {
        return await write.refused?.(rejection);
      }
      // In the stream's turn already.
      await removeLeftovers(
        store,
        call,
        (part) => runAlone(store, call, part, false),
      );
      await runAlone(store, call, write, false);
    },
  };
}

type Part = StreamWrite<ReturnType<typeof partGone>, bigint | undefined>;

/**
 * Removes all that a stream without a row has left, part by part. Ends also
 * when the stream has a row: then it was made anew.
 */
export async function removeLeftovers(
  store: Store,
  call: StreamCall,
  run = (part: Part) => writeStream(store, call, part),
): Promise<void> {
  for (let upTo: bigint | undefined = maxNumber; upTo !== undefined;) {
    call.signal?.throwIfAborted();
    upTo = await run(partWrite(store, call, upTo));
  }
}

/** Settles with the number up to which there may be more. */
function partWrite(store: Store, call: StreamCall, upTo: bigint): Part {
  const { catalog } = store;
  const { streamId } = call;
  return {
    bytes: 0,
    withoutLock: true,
    bound: partGone(catalog, streamId, upTo),
    // Done twice it is as if done once, so there are always results.
    settle: (results) => {
      const lowest = results![3].rows[0]?.[0];
      const isRest = results![4].rows[0]![0] > 0n;
      return isRest ? lowest ?? maxNumber : undefined;
    },
    refused: async () => {
      const forget = bind(catalog.of(streamId, forgetDeletion), streamId);
      const write = { bytes: 0, bound: [forget], settle: () => {} };
      await runAlone(store, call, write, false);
      return undefined;
    },
  };
}

function partGone(catalog: Catalog, streamId: StreamId, upTo: bigint) {
  return [
    bind(catalog.of(streamId, checkGone), streamId),
    ...someGone(catalog, streamId, upTo),
  ] as const;
}

/** Deletions that are not complete, at most `limit` after an id. */
export async function listDeletions(
  store: Store,
  { after, limit, name, signal }: {
    after: StreamId | "";
    limit: number;
    name: string;
    signal: AbortSignal;
  },
): Promise<StreamId[]> {
  const [{ rows }] = await store.transactions.read({ name, signal }, [
    bind(store.catalog.at("", selectDeletions), after, BigInt(limit)),
  ]);
  return rows.map(([id]) => id as StreamId);
}
