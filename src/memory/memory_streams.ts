import { streamNotFound } from "../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../storage/model.ts";
import type { MiniblockRow, MinipoolRow } from "../storage/rules.ts";
import type { StreamId } from "../storage/stream_id.ts";

/** A stored candidate. Never changed in place, like blocks: clones share it. */
export interface MemoryCandidate extends MiniblockRow {
  readonly hash: Uint8Array;
}

/** Everything stored of one stream: the rows that PostgreSQL would hold. */
export interface MemoryStream {
  ephemeral: boolean;
  latestSnapshot: bigint;
  /** Ascending by number. */
  blocks: MiniblockRow[];
  /** By generation and slot. */
  minipool: MinipoolRow[];
  /** By number and hash. */
  candidates: MemoryCandidate[];
}

/** The streams of a store. */
export class MemoryStreams extends Map<StreamId, MemoryStream> {
  /** Nothing here is partitioned: `partitions` only gives the suffixes. */
  constructor(readonly partitions: number) {
    super();
  }
}

/** The stream, or `NOT_FOUND`. */
export function getStream(
  streams: MemoryStreams,
  streamId: StreamId,
): MemoryStream {
  const stream = streams.get(streamId);
  if (stream === undefined) throw streamNotFound(streamId);
  return stream;
}

/** A new stream from these parts. */
export function newStream(parts: Partial<MemoryStream>): MemoryStream {
  return {
    ephemeral: false,
    latestSnapshot: 0n,
    blocks: [],
    minipool: [],
    candidates: [],
    ...parts,
  };
}

/** A copy that changes independently; the bytes are shared. */
export function cloneStream(stream: MemoryStream): MemoryStream {
  return {
    ...stream,
    blocks: [...stream.blocks],
    minipool: [...stream.minipool],
    candidates: [...stream.candidates],
  };
}

/** A minipool of this generation without events. */
export function emptyMinipool(generation: bigint): MinipoolRow[] {
  return [{ generation, slot: -1 }];
}

/**
 * Copies `bytes` into a plain `Uint8Array`. `slice()` would not: a `Buffer`'s
 * slice is a view of the same memory.
 */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** The row that stores a given block, under a number of its own. */
export function toBlock(
  given: MiniblockDescriptor,
  number: bigint,
): MiniblockRow {
  const data = copyBytes(given.data);
  return given.snapshot && given.snapshot.length > 0
    ? { number, data, snapshot: copyBytes(given.snapshot) }
    : { number, data };
}

/** A descriptor for the caller, with copies of shared bytes. */
export function copyDescriptor(
  shared: MiniblockRow & { readonly hash?: Uint8Array },
): MiniblockDescriptor {
  const copy: MiniblockDescriptor = {
    number: shared.number,
    data: copyBytes(shared.data),
  };
  if (shared.hash) copy.hash = copyBytes(shared.hash);
  if (shared.snapshot && shared.snapshot.length > 0) {
    copy.snapshot = copyBytes(shared.snapshot);
  }
  return copy;
}

/** The index of the first block whose number is not below `number`. */
export function lowerBound(
  blocks: readonly MiniblockRow[],
  number: bigint,
): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const block = blocks[middle];
    if (block !== undefined && block.number < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The stored block of this number, if there is one. */
export function blockAt(
  blocks: readonly MiniblockRow[],
  number: bigint,
): MiniblockRow | undefined {
  const block = blocks[lowerBound(blocks, number)];
  return block?.number === number ? block : undefined;
}

/** Adds one block, or replaces the block of its number. */
export function putBlock(blocks: MiniblockRow[], block: MiniblockRow): void {
  const index = lowerBound(blocks, block.number);
  const replaced = blocks[index]?.number === block.number ? 1 : 0;
  blocks.splice(index, replaced, block);
}

/** Adds the blocks whose numbers are not stored yet. */
export function addMissing(
  blocks: MiniblockRow[],
  given: readonly MiniblockDescriptor[],
): void {
  for (const block of given) {
    if (blockAt(blocks, block.number) === undefined) {
      putBlock(blocks, toBlock(block, block.number));
    }
  }
}
