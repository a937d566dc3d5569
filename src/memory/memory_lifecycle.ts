import { checkNewStreamId } from "../storage/arguments.ts";
import { streamExists, streamNotFound } from "../storage/contract_errors.ts";
import type {
  GetStreamsOptions,
  MiniblockDescriptor,
} from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { isRepairable } from "../storage/write_rules.ts";
import {
  blockAt,
  emptyMinipool,
  type MemoryStreams,
  newStream,
  putBlock,
  toBlock,
} from "./memory_streams.ts";

/** See `StreamStorage.createStreamStorage`. */
export function createStreamStorage(
  streams: MemoryStreams,
  streamId: StreamId,
  genesis: MiniblockDescriptor,
): void {
  checkNewStreamId(streamId);
  const stream = streams.get(streamId);
  const block = toBlock(genesis, 0n);
  if (stream === undefined) {
    const minipool = emptyMinipool(1n);
    streams.set(streamId, newStream({ blocks: [block], minipool }));
    return;
  }
  const stored = blockAt(stream.blocks, 0n)?.data;
  if (!isRepairable({ ...stream, genesis: stored })) {
    throw streamExists(streamId);
  }
  putBlock(stream.blocks, block);
  if (stream.blocks.length === 1 && stream.minipool.length === 0) {
    stream.minipool = emptyMinipool(1n);
  }
}

/** See `StreamStorage.createEphemeralStreamStorage`. */
export function createEphemeralStreamStorage(
  streams: MemoryStreams,
  streamId: StreamId,
  genesis: MiniblockDescriptor,
): void {
  checkNewStreamId(streamId);
  if (streams.has(streamId)) throw streamExists(streamId);
  const blocks = [toBlock(genesis, 0n)];
  streams.set(streamId, newStream({ ephemeral: true, blocks }));
}

/** See `StreamStorage.createStreamArchiveStorage`. */
export function createStreamArchiveStorage(
  streams: MemoryStreams,
  streamId: StreamId,
): void {
  checkNewStreamId(streamId);
  if (streams.has(streamId)) throw streamExists(streamId);
  streams.set(streamId, newStream({}));
}

/** See `StreamStorage.deleteStream`. */
export function deleteStream(
  streams: MemoryStreams,
  streamId: StreamId,
): void {
  if (!streams.delete(streamId)) throw streamNotFound(streamId);
}

/** See `StreamStorage.getStreams`. */
export function listStreams(
  streams: MemoryStreams,
  options: GetStreamsOptions,
): StreamId[] {
  const { after, limit } = options;
  const ids = [...streams.keys()].sort();
  const rest = after === undefined ? ids : ids.filter((id) => id > after);
  return limit === undefined ? rest : rest.slice(0, limit);
}
