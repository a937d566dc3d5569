import { bind, type Bound } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { checkUnchanged, selectNumbers, selectState } from "../sql/state.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";

/** Block numbers, both ends included: the greatest one is a number, too. */
export interface NumberRange {
  first: bigint;
  last: bigint;
}

/** What is stored of a stream, and of a range of its blocks. */
export interface StreamState {
  streamId: StreamId;
  latestSnapshot: bigint;
  ephemeral: boolean;
  /** `D` if the blocks are in the database. */
  blockdataExt: string;
  last: bigint | undefined;
  hasMinipool: boolean;
  range: NumberRange;
  /** The stored numbers in the range, ascending. */
  numbers: bigint[];
}

/** Looks at a stream; undefined for an unknown stream. */
export async function findState(
  store: Store,
  call: StreamCall,
  range: NumberRange,
): Promise<StreamState | undefined> {
  const { catalog } = store;
  const { streamId } = call;
  const [{ rows: [row] }, { rows: numbers }] = await store.transactions.read(
    contextOf(call),
    [
      bind(catalog.of(streamId, selectState), streamId),
      bind(
        catalog.of(streamId, selectNumbers),
        streamId,
        range.first,
        range.last,
      ),
    ],
  );
  if (row === undefined) return undefined;
  const [latestSnapshot, ephemeral, blockdataExt, last, hasMinipool] = row;
  return {
    streamId,
    latestSnapshot,
    ephemeral,
    blockdataExt,
    last: last ?? undefined,
    hasMinipool,
    range,
    numbers: numbers.map(([number]) => number),
  };
}

/** Looks at a stream; NOT_FOUND for an unknown stream. */
export async function readState(
  store: Store,
  call: StreamCall,
  range: NumberRange,
): Promise<StreamState> {
  const state = await findState(store, call, range);
  if (state === undefined) throw streamNotFound(call.streamId);
  return state;
}

/**
 * The check, under the lock, that the stream is still as it was seen. If it is
 * not, the write is refused with `stream_changed`.
 */
export function unchanged(store: Store, state: StreamState): Bound {
  const { streamId, range } = state;
  return bind(
    store.catalog.of(streamId, checkUnchanged),
    streamId,
    state.latestSnapshot,
    state.ephemeral,
    state.blockdataExt,
    state.last ?? null,
    state.hasMinipool,
    range.first,
    range.last,
    BigInt(state.numbers.length),
  );
}
