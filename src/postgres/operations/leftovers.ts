/**
 * Removes a stream, however large it is.
 *
 * A stream exists while it has a row in `es`. Without that row the stream is
 * gone for every reader, so deleting a stream is one short transaction. It
 * removes that row and as many of the stream's other rows as a fraction of a
 * second allows. If some are left, it records that in a table of our own. The
 * `StreamRemover` removes these *leftovers* part by part, each in a transaction
 * of its own, in the stream's turn. What is done stays done: after a crash, the
 * next owner goes on.
 *
 * Nothing ever shows leftovers:
 *
 * - A read finds no row in `es`.
 * - A stream that is created under the same id finds them in its own
 *   transaction, which is stopped. The creating call then removes them itself,
 *   and begins again. What it has removed by its deadline stays removed for the
 *   next call.
 * - A node does not know leftovers. When it creates a stream, it inserts block
 *   0, which is there to the last (sql/deletions.ts), so the server refuses the
 *   node until an owner of ours has removed them. A node can create an archive,
 *   though, or rebuild the stream from blocks above the leftovers. Then the
 *   leftovers stay, as the beginning of the stream, because nothing shows any
 *   more which blocks belong to which stream.
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
  outcomeOf,
  runAlone,
  type StreamWrite,
  writeStream,
} from "../write_path/stream_write.ts";

const maxNumber = 2n ** 63n - 1n;

/** Removes the stream's row, and what can be removed quickly. */
export function streamGone(catalog: Catalog, streamId: StreamId) {
  return [
    bind(catalog.of(streamId, deleteStreamRow), streamId),
    bind(catalog.of(streamId, deleteEphemeralAge), streamId),
    bind(catalog.of(streamId, deleteTrimmingMark), streamId),
    ...someGone(catalog, streamId, maxNumber),
  ] as const;
}

/** Removes some of the stream's other rows; returns whether more are left. */
function someGone(catalog: Catalog, streamId: StreamId, upTo: bigint) {
  return [
    bind(catalog.of(streamId, deleteLastEvents), streamId),
    bind(catalog.of(streamId, deleteLastCandidates), streamId),
    bind(catalog.of(streamId, deleteLastMiniblocks), streamId, upTo),
    bind(catalog.of(streamId, noteRest), streamId),
  ] as const;
}

/** Whether the statements of `streamGone` have left rows, or may have. */
export function restAfter(results: readonly Result[] | undefined): boolean {
  return results === undefined || countOf(results.at(-1)!) > 0;
}

/** Removes the rest after the commit. No caller depends on it. */
export async function removeRest(
  store: Store,
  { name, streamId }: StreamCall,
): Promise<void> {
  if (store.notices.restToRemove()) return;
  // After a failure, the next owner whose workers run removes the rest.
  await removeLeftovers(store, { name, streamId }).catch(() => {});
}

/** Stops a creation if an earlier stream of this id has left rows. */
export function noLeftovers(catalog: Catalog, streamId: StreamId): Bound {
  return bind(catalog.of(streamId, checkNoLeftovers), streamId);
}

/** A creation that `noLeftovers` may stop: it removes them and tries again. */
export function creating<B extends readonly Bound[]>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B>,
): StreamWrite<B> {
  return {
    ...write,
    refused: async (rejection) => {
      if (rejection.reason !== leftoversReason) {
        return await outcomeOf(write, call, rejection);
      }
      // The stream's turn has come already.
      await removeLeftovers(
        store,
        call,
        (part) => runAlone(store, call, part, false),
      );
      return await runAlone(store, call, write, false);
    },
  };
}

type Part = StreamWrite<ReturnType<typeof partGone>, bigint | undefined>;

/**
 * Removes all that a stream without a row has left, part by part. Also ends if
 * the stream has a row, because then it was created anew.
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

/** Settles with the highest number that may be left, if anything is. */
function partWrite(store: Store, call: StreamCall, upTo: bigint): Part {
  const { catalog } = store;
  const { streamId } = call;
  return {
    withoutLock: true,
    bound: partGone(catalog, streamId, upTo),
    // Without `wasDone`, because removing twice does no harm, there are always
    // results.
    settle: (results) => {
      const lowest = results![3].rows[0]?.[0];
      const isRest = results![4].rows[0]![0] > 0n;
      return isRest ? lowest ?? maxNumber : undefined;
    },
    refused: async () => {
      const forget = bind(catalog.of(streamId, forgetDeletion), streamId);
      await runAlone(store, call, { bound: [forget] }, false);
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

/** At most `limit` deletions that are not complete, after an id. */
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
