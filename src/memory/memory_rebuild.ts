import { checkNewStreamId } from "../storage/arguments.ts";
import {
  archivePositionMismatch,
  ephemeralStream,
  latestSnapshotProtected,
  noMiniblocks,
  precedingNotBelowLast,
  streamExists,
  streamHasMinipool,
  trimAboveSnapshot,
} from "../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../storage/model.ts";
import { latestSnapshotOf } from "../storage/rules.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { checkRebuild } from "../storage/write_rules.ts";
import {
  addMissing,
  blockAt,
  copyBytes,
  emptyMinipool,
  getStream,
  lowerBound,
  type MemoryStreams,
  newStream,
  putBlock,
  toBlock,
} from "./memory_streams.ts";
import { dropCandidatesBelow } from "./memory_writes.ts";

/** See `StreamStorage.writePrecedingMiniblocks`. */
export function writePrecedingMiniblocks(
  streams: MemoryStreams,
  streamId: StreamId,
  miniblocks: MiniblockDescriptor[],
): void {
  const { blocks } = getStream(streams, streamId);
  const last = blocks.at(-1)?.number;
  if (last === undefined) throw noMiniblocks("FAILED_PRECONDITION", streamId);
  const end = miniblocks.at(-1)?.number ?? -1n;
  if (end >= last) throw precedingNotBelowLast(streamId, end, last);
  addMissing(blocks, miniblocks);
}

/** See `StreamStorage.reinitializeStreamStorage`. */
export function reinitializeStreamStorage(
  streams: MemoryStreams,
  streamId: StreamId,
  miniblocks: MiniblockDescriptor[],
  snapshot: bigint,
  updateExisting: boolean,
): void {
  let stream = streams.get(streamId);
  if (stream !== undefined) {
    if (!updateExisting) throw streamExists(streamId);
    if (stream.ephemeral) throw ephemeralStream(streamId);
    const { blocks, latestSnapshot } = stream;
    const row = blockAt(blocks, snapshot);
    const last = blocks.at(-1)?.number;
    const stored = { latestSnapshot, last, snapshotRow: row };
    const given = { miniblocks, snapshot };
    const missing = checkRebuild(streamId, given, stored);
    if (row !== undefined && missing !== undefined) {
      putBlock(blocks, { ...row, snapshot: copyBytes(missing) });
    }
  } else {
    checkNewStreamId(streamId);
    stream = newStream({});
    streams.set(streamId, stream);
  }
  addMissing(stream.blocks, miniblocks);
  const generation = (stream.blocks.at(-1)?.number ?? -1n) + 1n;
  stream.latestSnapshot = snapshot;
  stream.minipool = emptyMinipool(generation);
  dropCandidatesBelow(stream, generation);
}

/** See `StreamStorage.writeArchiveMiniblocks`. */
export function writeArchiveMiniblocks(
  streams: MemoryStreams,
  streamId: StreamId,
  start: bigint,
  miniblocks: MiniblockDescriptor[],
): void {
  const stream = getStream(streams, streamId);
  const last = stream.blocks.at(-1)?.number ?? -1n;
  if (last + 1n !== start) {
    throw archivePositionMismatch(streamId, start, last);
  }
  if (stream.ephemeral) throw ephemeralStream(streamId);
  if (stream.minipool.length > 0) throw streamHasMinipool(streamId);
  let number = start;
  for (const block of miniblocks) stream.blocks.push(toBlock(block, number++));
}

/** See `StreamStorage.trimStream`. */
export function trimStream(
  streams: MemoryStreams,
  streamId: StreamId,
  trimTo: bigint,
  nullify: bigint[],
): void {
  const { blocks, latestSnapshot } = getStream(streams, streamId);
  const latest = latestSnapshotOf(latestSnapshot);
  if (trimTo > latest) throw trimAboveSnapshot(streamId, trimTo, latest);
  if (nullify.includes(latest)) throw latestSnapshotProtected(streamId, latest);
  blocks.splice(0, lowerBound(blocks, trimTo));
  for (const number of nullify) {
    const block = blockAt(blocks, number);
    if (block !== undefined) putBlock(blocks, { number, data: block.data });
  }
}
