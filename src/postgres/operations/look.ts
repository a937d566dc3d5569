/**
 * Reads by one statement what others have to fit. The owner of the schema needs no
 * more: nobody else changes its streams. A reader learns by the same flush, which
 * sees one state, how to recognise what it has seen.
 */

import type { TransactionContext } from "../../database/read_transactions.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { selectVersion } from "../sql/external.ts";
import { selectBlocksVersion } from "../sql/reading.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";

/** What a statement has found. */
export interface Look<B extends Bound> {
  rows: ResultsOf<readonly [B]>[0]["rows"];
  /** Of the stream's row, which later statements must find; absent for its owner. */
  version?: bigint | undefined;
}

/** The same, and whether the stream's blocks in the database still are those. */
export interface BlocksLook<B extends Bound> extends Look<B> {
  isStill?: () => Promise<boolean>;
}

const allNumbers = 2n ** 63n - 1n;

/** A look that statements about blocks elsewhere follow. */
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

/** A look that statements about any blocks follow. */
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
