import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  MiniblockDescriptor,
  ReadMiniblocksResult,
} from "../../storage/model.ts";
import { assembleMiniblocks, type MiniblockRow } from "../../storage/rules.ts";
import {
  pageRowKind,
  selectMiniblocks,
  selectMiniblocksPage,
  selectMiniblocksWithoutSnapshots,
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
  const { to, omitSnapshot } = read;
  const last = to - 1n;
  let from = read.from;
  for (let isFirst = true;; isFirst = false) {
    const page = await findPage(store, call, { from, last, omitSnapshot });
    if (page === undefined) throw streamNotFound(call.streamId);
    const { miniblocks } = assembleMiniblocks(call.streamId, page.blocks, {
      from,
      // The blocks of the page before were stored, whatever became of them.
      hasBlockBefore: page.hasBlockBefore || !isFirst,
      hasBlockBelow: page.hasBlockBelow || !isFirst,
      omitSnapshot,
    });
    for (const block of miniblocks) {
      call.signal?.throwIfAborted();
      yield block;
    }
    if (!page.hasNext) return;
    from = miniblocks.at(-1)!.number + 1n;
  }
}

/** The first blocks of a range, as many as are held at a time. */
export interface MiniblocksPage {
  blocks: MiniblockRow[];
  hasBlockBefore: boolean;
  hasBlockBelow: boolean;
  /** Whether there are more blocks in the range. */
  hasNext: boolean;
}

/** Reads a page of the blocks `from` to `last`; none of an unknown stream. */
export async function findPage(
  store: Store,
  { name, streamId, signal }: StreamCall,
  { from, last, omitSnapshot }: Omit<MiniblocksRead, "to"> & { last: bigint },
): Promise<MiniblocksPage | undefined> {
  const [{ rows: [stream, ...rows] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(
      store.catalog.of(streamId, selectMiniblocksPage),
      streamId,
      from,
      last,
      pageBytes,
      omitSnapshot,
    )],
  );
  if (stream === undefined) return undefined;
  const hasNext = rows.at(-1)?.[0] === pageRowKind.next;
  if (hasNext) rows.pop();
  return {
    blocks: rows.map(([, number, data, snapshot]) => ({
      number,
      data: data!,
      snapshot,
    })),
    hasBlockBefore: (stream[1] & 1n) !== 0n,
    hasBlockBelow: (stream[1] & 2n) !== 0n,
    hasNext,
  };
}
