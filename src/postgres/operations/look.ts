import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import { selectBlocksVersion } from "../sql/reading.ts";
import { contextOf, type ReadStore, type StreamCall } from "../store.ts";

/** What a statement has found, and whether the stream's blocks still are those. */
export interface Look<B extends Bound> {
  rows: ResultsOf<readonly [B]>[0]["rows"];
  /** Absent where the owner looks, who knows by himself. */
  isStill?: () => Promise<boolean>;
}

const allNumbers = 2n ** 63n - 1n;

/**
 * Reads by one statement what others will have to fit. Who owns nothing learns
 * by the same flush, which sees one state, how to recognise the blocks.
 */
export async function lookAt<const B extends Bound>(
  store: ReadStore,
  call: StreamCall,
  bound: B,
): Promise<Look<B>> {
  const context = contextOf(call);
  if (store.cache !== undefined) {
    const [{ rows }] = await store.transactions.read(context, [bound]);
    return { rows };
  }
  const [{ rows }, { rows: [seen] }] = await store.transactions.read(context, [
    bound,
    versionUpTo(store, call, allNumbers),
  ]);
  const [count, transactions, last] = seen!;
  return {
    rows,
    isStill: async () => {
      const [{ rows: [now] }] = await store.transactions.read(context, [
        versionUpTo(store, call, last),
      ]);
      return now![0] === count && now![1] === transactions;
    },
  };
}

function versionUpTo(store: ReadStore, { streamId }: StreamCall, last: bigint) {
  const select = store.catalog.of(streamId, selectBlocksVersion);
  return bind(select, streamId, last);
}
