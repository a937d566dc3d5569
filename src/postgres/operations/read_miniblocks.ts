import { Slices } from "../../database/slices.ts";
import { bind } from "../../database/statement.ts";
import { streamNotFound } from "../../storage/contract_errors.ts";
import type {
  MiniblockDescriptor,
  ReadMiniblocksOptions,
  ReadMiniblocksResult,
} from "../../storage/model.ts";
import { assembleMiniblocks, type MiniblockRow } from "../../storage/rules.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  pageRowKind,
  selectMiniblocks,
  selectMiniblocksPage,
  selectMiniblocksWithoutSnapshots,
} from "../sql/reading.ts";
import type { ReadStore, StreamCall } from "../store.ts";
import { streamChanged } from "../stream_changed.ts";
import {
  following,
  moved,
  readExternal,
  readExternalPage,
} from "./external_blocks.ts";

/** A range of blocks, and whether their snapshots are left out. */
export interface MiniblocksRead {
  from: bigint;
  to: bigint;
  omitSnapshot: boolean;
}

/** See {@linkcode StreamReader.readMiniblocks}. */
export function readMiniblocks(
  store: ReadStore,
  call: StreamCall,
  from: bigint,
  to: bigint,
  { omitSnapshot = false }: ReadMiniblocksOptions = {},
): Promise<ReadMiniblocksResult> {
  const read = { from, to, omitSnapshot };
  return following(call.streamId, () => readOnce(store, call, read));
}

async function readOnce(
  store: ReadStore,
  call: StreamCall,
  read: MiniblocksRead,
): Promise<ReadMiniblocksResult | typeof moved> {
  const { catalog, transactions } = store;
  const { name, streamId, signal } = call;
  const { from, to, omitSnapshot } = read;
  const select = omitSnapshot
    ? selectMiniblocksWithoutSnapshots
    : selectMiniblocks;
  const [{ rows }] = await transactions.read(
    { name, tags: streamId, signal },
    [bind(catalog.of(streamId, select), streamId, from, to)],
  );
  const stream = rows[0];
  if (stream === undefined || stream[0] !== pageRowKind.stream) {
    throw streamNotFound(streamId);
  }
  if (stream[4] === "D") return await assembleRows(streamId, rows, read);
  const range = { first: from, last: to - 1n, omitSnapshot };
  const found = await readExternal(store, call, range);
  if (found === moved) return moved;
  return assembleMiniblocks(streamId, found.blocks, {
    from,
    ...neighboursIn(found.below),
    omitSnapshot,
  });
}

/** Rows that one slice of work makes into blocks. */
const sliceRows = 2048;

/** Makes blocks of the rows behind the stream's row, in slices. */
async function assembleRows(
  streamId: StreamId,
  rows: readonly (readonly [
    kind: number,
    number: bigint,
    data: Uint8Array | null,
    snapshot: Uint8Array | null,
    ...unknown[],
  ])[],
  { from, omitSnapshot }: MiniblocksRead,
): Promise<ReadMiniblocksResult> {
  const { hasBlockBefore, hasBlockBelow } = neighboursOf(from, rows[0]![1]);
  const assemble = (at: number, due: bigint) =>
    assembleMiniblocks(
      streamId,
      rows.slice(at, at + sliceRows).map(([, number, data, snapshot]) => ({
        number,
        data: data!,
        snapshot,
      })),
      {
        from: due,
        hasBlockBefore: hasBlockBefore || at > 1,
        hasBlockBelow: hasBlockBelow || at > 1,
        omitSnapshot,
      },
    );
  const result = assemble(1, from);
  const slices = new Slices();
  for (let at = 1 + sliceRows; at < rows.length; at += sliceRows) {
    await slices.next();
    const { miniblocks } = assemble(at, result.miniblocks.at(-1)!.number + 1n);
    for (const block of miniblocks) result.miniblocks.push(block);
  }
  return result;
}

/**
 * Bytes of blocks that are in memory at a time. Bun collects late what was
 * read: with pages of 4 MiB, reading 300 MB took up to 166 MB of memory, with
 * these up to 73.
 */
export const pageBytes = 1024n * 1024n;

/**
 * Reads the blocks page by page, with one page in memory. Each page is of one
 * snapshot, and must continue the page before, or the read fails.
 */
export async function* streamMiniblocks(
  store: ReadStore,
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
      // The blocks of the page before were stored, even if they are gone by
      // now.
      hasBlockBefore: page.hasBlockBefore || !isFirst,
      hasBlockBelow: page.hasBlockBelow || !isFirst,
      omitSnapshot,
    });
    // The page before has announced the first block of this one.
    if (!isFirst && miniblocks.length === 0) throw streamChanged(call.streamId);
    for (const block of miniblocks) {
      call.signal?.throwIfAborted();
      yield block;
    }
    if (!page.hasNext) return;
    from = miniblocks.at(-1)!.number + 1n;
  }
}

/** The first blocks of a range, as many as fit into memory at a time. */
export interface MiniblocksPage {
  blocks: MiniblockRow[];
  hasBlockBefore: boolean;
  hasBlockBelow: boolean;
  /** Whether the range has more blocks. */
  hasNext: boolean;
}

/** The range of a page, and its options. */
export interface PageRead extends Omit<MiniblocksRead, "to"> {
  last: bigint;
}

/** Reads a page of the blocks `from` to `last`, undefined without a stream. */
export function findPage(
  store: ReadStore,
  call: StreamCall,
  read: PageRead,
): Promise<MiniblocksPage | undefined> {
  return following(call.streamId, () => findPageOnce(store, call, read));
}

async function findPageOnce(
  store: ReadStore,
  call: StreamCall,
  { from, last, omitSnapshot }: PageRead,
): Promise<MiniblocksPage | undefined | typeof moved> {
  const { name, streamId, signal } = call;
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
  if (stream[4] !== "D") {
    const page = await readExternalPage(store, call, {
      first: from,
      last,
      omitSnapshot,
      maxBytes: pageBytes,
    });
    if (page === moved) return moved;
    const { below, ...found } = page;
    return { ...found, ...neighboursIn(below) };
  }
  const hasNext = rows.at(-1)?.[0] === pageRowKind.next;
  if (hasNext) rows.pop();
  return {
    blocks: rows.map(([, number, data, snapshot]) => ({
      number,
      data: data!,
      snapshot,
    })),
    ...neighboursOf(from, stream[1]),
    hasNext,
  };
}

/** From the number of the last block below the range; -1 if there is none. */
function neighboursOf(from: bigint, last: bigint) {
  const hasBlockBelow = last >= 0n;
  return { hasBlockBefore: hasBlockBelow && last === from - 1n, hasBlockBelow };
}

/** From the bits of `selectExternal`. */
function neighboursIn(bits: bigint) {
  return {
    hasBlockBefore: (bits & 1n) !== 0n,
    hasBlockBelow: (bits & 2n) !== 0n,
  };
}
