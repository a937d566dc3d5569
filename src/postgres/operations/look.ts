/**
 * A *look* reads with one statement what later statements must agree with. The
 * owner of the schema needs no more, because no other process changes its
 * streams. A reader also reads, in the same flush and so of the same state, a
 * version by which later statements recognise that state.
 */

import type { TransactionContext } from "../../database/read_transactions.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { selectVersion } from "../sql/external.ts";
import { selectBlocksVersion } from "../sql/reading.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";

/** What a statement has found. */
export interface Look<B extends Bound> {
  rows: ResultsOf<readonly [B]>[0]["rows"];
  /**
   * The version of the stream's row, which later statements must find again;
   * absent in its owner's process.
   */
  version?: bigint | undefined;
}

/** A look, and whether the blocks in the database are still the same. */
export interface BlocksLook<B extends Bound> extends Look<B> {
  isStill?: () => Promise<boolean>;
}

const allNumbers = 2n ** 63n - 1n;

/** A look before statements about blocks in object storage. */
export async function lookAtRow<const B extends Bound>(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
  bound: B,
): Promise<Look<B>> {
  const context: TransactionContext = { name, tags: streamId, signal };
  if (store.cache !== undefined) {
    const [{ rows }] = await store.transactions.read(context, [bound]);
    return { rows };
  }
  const [{ rows }, { rows: [row] }] = await store.transactions.read(context, [
    bound,
    bind(store.catalog.of(streamId, selectVersion), streamId),
  ]);
  return { rows, version: row?.[0] };
}

/** A look before statements about blocks anywhere. */
export async function lookAtBlocks<const B extends Bound>(
  store: ReadStore,
  call: StreamCall,
  bound: B,
): Promise<BlocksLook<B>> {
  const context = contextOf(call);
  const { streamId } = call;
  if (store.cache !== undefined) {
    const [{ rows }] = await store.transactions.read(context, [bound]);
    return { rows };
  }
  const upTo = (last: bigint) =>
    bind(store.catalog.of(streamId, selectBlocksVersion), streamId, last);
  const [{ rows }, { rows: [row] }, { rows: [seen] }] = await store.transactions
    .read(context, [
      bound,
      bind(store.catalog.of(streamId, selectVersion), streamId),
      upTo(allNumbers),
    ]);
  const [count, transactions, last] = seen!;
  return {
    rows,
    version: row?.[0],
    isStill: async () => {
      const [{ rows: [now] }] = await store.transactions.read(context, [
        upTo(last),
      ]);
      return now![0] === count && now![1] === transactions;
    },
  };
}
