/**
 * How the rows of a write show whether it was done, after its answer was lost.
 * These looks are for `wasDone` of a `StreamWrite`, with the call that it gets.
 */

import { bind } from "../../database/statement.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { isLastMiniblock, isMiniblockStored } from "../sql/miniblocks.ts";
import { contextOf, type Store, type StreamCall } from "../store.ts";
import { findState } from "./stream_state.ts";

/** The number and data of a block. */
type Block = Pick<MiniblockDescriptor, "number" | "data">;

/** Whether the block is stored with exactly this data. */
export async function isBlockStored(
  store: Store,
  call: StreamCall,
  { number, data }: Block,
): Promise<boolean> {
  const { streamId } = call;
  const select = store.catalog.of(streamId, isMiniblockStored);
  const [{ rows: [row] }] = await store.transactions.read(
    contextOf(call),
    [bind(select, streamId, number, data)],
  );
  return row?.[0] === true;
}

/**
 * Whether this block, with exactly this data, is the stream's last one. A
 * transaction writes all of its blocks or none, so the last of them decides.
 */
export async function endsWithBlock(
  store: Store,
  call: StreamCall,
  { number, data }: Block,
): Promise<boolean> {
  const { streamId } = call;
  const select = store.catalog.of(streamId, isLastMiniblock);
  const [{ rows: [row] }] = await store.transactions.read(
    contextOf(call),
    [bind(select, streamId, number, data)],
  );
  return row?.[0] === true;
}

/**
 * Whether the stream has this block and nothing later, by which its creation is
 * recognised. A stream of the other kind was created by another call.
 */
export async function isJustCreated(
  store: Store,
  call: StreamCall,
  block: Block,
  ephemeral: boolean,
): Promise<boolean> {
  const { number } = block;
  const range = { first: number, last: number };
  const state = await findState(store, call, range);
  return state !== undefined && state.last === number &&
    state.ephemeral === ephemeral && state.hasMinipool !== ephemeral &&
    await isBlockStored(store, call, block);
}

/** Whether the stream has no row: how its deletion is recognised. */
export async function isGone(store: Store, call: StreamCall): Promise<boolean> {
  const range = { first: 0n, last: -1n };
  return await findState(store, call, range) === undefined;
}
