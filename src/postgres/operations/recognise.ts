import { bind } from "../../database/statement.ts";
import type { MiniblockDescriptor } from "../../storage/model.ts";
import { isMiniblockStored } from "../sql/miniblocks.ts";
import type { Store, StreamCall } from "../store.ts";
import { findState } from "./stream_state.ts";

/**
 * The call as one that looks what became of its write: nothing may stop it,
 * and if it fails, the write's outcome is unknown.
 */
export function looking({ name, streamId }: StreamCall): StreamCall {
  return { name, streamId, afterUnknown: true };
}

/**
 * Whether the block is stored with just this data: how a write whose answer
 * was lost is recognised. Blocks are written with the rest of their
 * transaction or not at all, so one of them tells.
 */
export async function isBlockStored(
  store: Store,
  { name, streamId }: StreamCall,
  block: Pick<MiniblockDescriptor, "number" | "data">,
): Promise<boolean> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, afterUnknown: true },
    [bind(
      store.catalog.of(streamId, isMiniblockStored),
      streamId,
      block.number,
      block.data,
    )],
  );
  return row?.[0] === true;
}

/**
 * Whether the stream has this block and nothing that came later: how its
 * creation is recognised. A stream of the other kind is another's.
 */
export async function isJustCreated(
  store: Store,
  call: StreamCall,
  block: Pick<MiniblockDescriptor, "number" | "data">,
  ephemeral: boolean,
): Promise<boolean> {
  const { number } = block;
  const range = { first: number, last: number };
  const state = await findState(store, looking(call), range);
  return state !== undefined && state.last === number &&
    state.ephemeral === ephemeral && state.hasMinipool !== ephemeral &&
    await isBlockStored(store, call, block);
}
