import { checkNewStreamId } from "../storage/arguments.ts";
import { miniblockExists, notEphemeral } from "../storage/contract_errors.ts";
import type { MiniblockDescriptor } from "../storage/model.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { checkSealable } from "../storage/write_rules.ts";
import {
  blockAt,
  emptyMinipool,
  getStream,
  type MemoryStream,
  type MemoryStreams,
  newStream,
  putBlock,
  toBlock,
} from "./memory_streams.ts";

/** See `StreamStorage.writeEphemeralMiniblock`. */
export function writeEphemeralMiniblock(
  streams: MemoryStreams,
  streamId: StreamId,
  miniblock: MiniblockDescriptor,
): void {
  let stream = streams.get(streamId);
  if (stream === undefined) {
    checkNewStreamId(streamId);
    stream = newStream({ ephemeral: true });
  }
  if (!stream.ephemeral) throw notEphemeral("ALREADY_EXISTS", streamId);
  const { number } = miniblock;
  if (blockAt(stream.blocks, number) !== undefined) {
    throw miniblockExists(streamId, number);
  }
  putBlock(stream.blocks, toBlock(miniblock, number));
  streams.set(streamId, stream);
}

/** See `StreamStorage.readEphemeralMiniblockNums`. */
export function readEphemeralMiniblockNums(
  streams: MemoryStreams,
  streamId: StreamId,
): bigint[] {
  return getEphemeral(streams, streamId).blocks.map(({ number }) => number);
}

/** See `StreamStorage.normalizeEphemeralStream`. */
export function normalizeEphemeralStream(
  streams: MemoryStreams,
  streamId: StreamId,
): Uint8Array {
  const stream = getEphemeral(streams, streamId);
  const { headerHash, last } = checkSealable(
    streamId,
    blockAt(stream.blocks, 0n)?.data,
    stream.blocks.map(({ number }) => number),
  );
  stream.ephemeral = false;
  stream.minipool = emptyMinipool(last + 1n);
  return headerHash;
}

function getEphemeral(
  streams: MemoryStreams,
  streamId: StreamId,
): MemoryStream {
  const stream = getStream(streams, streamId);
  if (!stream.ephemeral) throw notEphemeral("NOT_FOUND", streamId);
  return stream;
}
