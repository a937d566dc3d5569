import { corruptStream, noMiniblocks } from "../storage/contract_errors.ts";
import { hasLegacySnapshot } from "../storage/miniblock_proto.ts";
import type {
  DebugReadStreamDataResult,
  DebugReadStreamStatisticsResult,
  MiniblockRange,
  MiniblocksStoredLocation,
  ReadMiniblocksOptions,
  ReadMiniblocksResult,
  ReadStreamFromLastSnapshotResult,
} from "../storage/model.ts";
import {
  assembleMiniblocks,
  assembleStreamView,
  descriptorOf,
  latestSnapshotOf,
  rangesOf,
} from "../storage/rules.ts";
import { partitionSuffix, type StreamId } from "../storage/stream_id.ts";
import { hasOwnSnapshot } from "../storage/write_rules.ts";
import {
  blockAt,
  copyBytes,
  copyDescriptor,
  getStream,
  lowerBound,
  type MemoryStreams,
} from "./memory_streams.ts";

/** See `StreamStorage.readStreamFromLastSnapshot`. */
export function readStreamFromLastSnapshot(
  streams: MemoryStreams,
  streamId: StreamId,
  numPreceding: number,
): ReadStreamFromLastSnapshotResult {
  const { latestSnapshot, blocks, minipool } = getStream(streams, streamId);
  const start = latestSnapshotOf(latestSnapshot) - BigInt(numPreceding);
  const view = assembleStreamView(streamId, {
    latestSnapshot,
    blocks: blocks.slice(lowerBound(blocks, start))
      .map((block) => copyDescriptor(descriptorOf(block))),
    lastBelow: blocks.at(-1)?.number,
    minipool,
    numPreceding,
  });
  return {
    ...view,
    minipoolEnvelopes: view.minipoolEnvelopes.map(copyBytes),
  };
}

/** The page of a range to read; default all of it. */
export interface MiniblocksPage {
  /** At most this many blocks; default all. */
  limit?: number;
  /** Whether an earlier page of the same range has been read. */
  continued?: boolean;
}

/** See `StreamStorage.readMiniblocks`. */
export function readMiniblocks(
  streams: MemoryStreams,
  streamId: StreamId,
  from: bigint,
  to: bigint,
  options?: ReadMiniblocksOptions,
): ReadMiniblocksResult {
  return readPage(streams, streamId, from, to, options, {});
}

/** See `StreamStorage.streamMiniblocks`. */
export function readPage(
  streams: MemoryStreams,
  streamId: StreamId,
  from: bigint,
  to: bigint,
  options: ReadMiniblocksOptions | undefined,
  page: MiniblocksPage,
): ReadMiniblocksResult {
  const { limit = Infinity, continued = false } = page;
  const { blocks } = getStream(streams, streamId);
  const start = lowerBound(blocks, from);
  const end = Math.min(lowerBound(blocks, to), start + limit);
  const result = assembleMiniblocks(streamId, blocks.slice(start, end), {
    from,
    hasBlockBefore: continued || blockAt(blocks, from - 1n) !== undefined,
    hasBlockBelow: continued || start > 0,
    omitSnapshot: options?.omitSnapshot ?? false,
  });
  return { ...result, miniblocks: result.miniblocks.map(copyDescriptor) };
}

/** See `StreamStorage.getLastMiniblockNumber`. */
export function getLastMiniblockNumber(
  streams: MemoryStreams,
  streamId: StreamId,
): bigint {
  const last = getStream(streams, streamId).blocks.at(-1);
  if (last === undefined) throw noMiniblocks("NOT_FOUND", streamId);
  if (last.number === 0n && last.data.length === 0) {
    throw corruptStream(streamId, 0n);
  }
  return last.number;
}

/** See `StreamStorage.getMaxArchivedMiniblockNumber`. */
export function getMaxArchivedMiniblockNumber(
  streams: MemoryStreams,
  streamId: StreamId,
): bigint {
  return getStream(streams, streamId).blocks.at(-1)?.number ?? -1n;
}

/** See `StreamStorage.isStreamEphemeral`. */
export function isStreamEphemeral(
  streams: MemoryStreams,
  streamId: StreamId,
): boolean {
  return getStream(streams, streamId).ephemeral;
}

/** See `StreamStorage.streamMiniblocksStoredLocation`. */
export function streamMiniblocksStoredLocation(
  streams: MemoryStreams,
  streamId: StreamId,
): MiniblocksStoredLocation {
  getStream(streams, streamId);
  return "db";
}

/** See `StreamStorage.getMiniblockNumberRanges`. */
export function getMiniblockNumberRanges(
  streams: MemoryStreams,
  streamId: StreamId,
): MiniblockRange[] {
  const { blocks } = getStream(streams, streamId);
  return rangesOf(blocks.map((block) => ({
    number: block.number,
    hasSnapshot: hasOwnSnapshot(block) || hasLegacySnapshot(block.data),
  })));
}

/** See `StreamStorage.debugReadStreamData`. */
export function debugReadStreamData(
  streams: MemoryStreams,
  streamId: StreamId,
): DebugReadStreamDataResult {
  const stream = getStream(streams, streamId);
  return {
    streamId,
    latestSnapshotMiniblockNum: latestSnapshotOf(stream.latestSnapshot),
    miniblocks: stream.blocks.map(copyDescriptor),
    events: stream.minipool.map(({ generation, slot, envelope }) =>
      envelope && envelope.length > 0
        ? { generation, slot, data: copyBytes(envelope) }
        : { generation, slot }
    ),
    miniblockCandidates: stream.candidates.map(copyDescriptor),
  };
}

/** See `StreamStorage.debugReadStreamStatistics`. */
export function debugReadStreamStatistics(
  streams: MemoryStreams,
  streamId: StreamId,
): DebugReadStreamStatisticsResult {
  const stream = getStream(streams, streamId);
  return {
    streamId,
    latestSnapshotMiniblockNum: latestSnapshotOf(stream.latestSnapshot),
    miniblockRanges: getMiniblockNumberRanges(streams, streamId),
    miniblockCandidates: stream.candidates.map(({ number, hash }) => ({
      number,
      hash: copyBytes(hash),
    })),
    minipoolEvents: stream.minipool.filter(({ slot }) => slot >= 0).length,
    partitionSuffix: partitionSuffix(streamId, streams.partitions),
  };
}

/** See `StreamStorage.debugDeleteMiniblocks`. */
export function debugDeleteMiniblocks(
  streams: MemoryStreams,
  streamId: StreamId,
  from: bigint,
  to: bigint,
): void {
  const { blocks } = getStream(streams, streamId);
  const start = lowerBound(blocks, from);
  blocks.splice(start, lowerBound(blocks, to) - start);
}
