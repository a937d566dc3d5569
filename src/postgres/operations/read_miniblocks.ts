import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  MiniblockDescriptor,
  ReadMiniblocksResult,
} from "../../storage/model.ts";
import { assembleMiniblocks } from "../../storage/rules.ts";
import {
  selectMiniblocks,
  selectMiniblocksWithoutSnapshots,
  selectPageEnd,
} from "../sql/reading.ts";
import type { Store, StreamCall } from "../store.ts";

/** A range of blocks, and whether their snapshots are left out. */
export interface MiniblocksRead {
  from: bigint;
  to: bigint;
  omitSnapshot: boolean;
}

/** Reads the stored blocks of a range. */
export async function readMiniblocks(
  store: Store,
  call: StreamCall,
  read: MiniblocksRead,
): Promise<ReadMiniblocksResult> {
  const { catalog, transactions } = store;
  const { name, streamId, signal } = call;
  const { from, to, omitSnapshot } = read;
  const select = omitSnapshot
    ? selectMiniblocksWithoutSnapshots
    : selectMiniblocks;
  const [{ rows: [stream, ...blocks] }] = await transactions.read(
    { name, tags: streamId, signal },
    [bind(catalog.of(streamId, select), streamId, from, to)],
  );
  if (stream === undefined) throw streamNotFound(streamId);
  const below = stream[1];
  return assembleMiniblocks(
    streamId,
    blocks.map(([, number, data, snapshot]) => ({
      number,
      data: data!,
      snapshot,
    })),
    {
      from,
      hasBlockBefore: (below & 1n) !== 0n,
      hasBlockBelow: (below & 2n) !== 0n,
      omitSnapshot,
    },
  );
}

/** Bytes of blocks that are held at a time. */
const pageBytes = 4n * 1024n * 1024n;

/**
 * Reads the blocks page by page; only one page is held. Each page is one
 * snapshot, and joins on to the last or fails.
 */
export async function* streamMiniblocks(
  store: Store,
  call: StreamCall,
  read: MiniblocksRead,
): AsyncGenerator<MiniblockDescriptor> {
  let from = read.from;
  do {
    const end = await pageEnd(store, call, { ...read, from });
    const to = end === undefined ? read.to : end + 1n;
    const page = await readMiniblocks(store, call, { ...read, from, to });
    for (const block of page.miniblocks) {
      call.signal?.throwIfAborted();
      yield block;
    }
    if (end === undefined) return;
    from = to;
  } while (from < read.to);
}

/** The page's last block; undefined when none is left. */
async function pageEnd(
  store: Store,
  { name, streamId, signal }: StreamCall,
  { from, to, omitSnapshot }: MiniblocksRead,
): Promise<bigint | undefined> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectPageEnd),
      streamId,
      from,
      to - 1n,
      pageBytes,
      omitSnapshot,
    )],
  );
  return row?.[0] ?? undefined;
}
