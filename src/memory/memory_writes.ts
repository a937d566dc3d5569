import {
  candidateExists,
  candidateNotFound,
  candidateTooOld,
  ephemeralStream,
  noMiniblocks,
} from "../storage/contract_errors.ts";
import type {
  MiniblockDescriptor,
  NewMinipool,
  PreviousMinipool,
} from "../storage/model.ts";
import { bytesToHex, type StreamId } from "../storage/stream_id.ts";
import {
  checkMiniblocksFit,
  checkMinipoolHead,
  lastSnapshotIn,
} from "../storage/write_rules.ts";
import {
  copyBytes,
  copyDescriptor,
  emptyMinipool,
  getStream,
  type MemoryCandidate,
  type MemoryStream,
  type MemoryStreams,
  toBlock,
} from "./memory_streams.ts";

/** See `StreamStorage.writeEvent`. */
export function writeEvent(
  streams: MemoryStreams,
  streamId: StreamId,
  generation: bigint,
  slot: number,
  envelope: Uint8Array,
): void {
  const { minipool } = getStream(streams, streamId);
  const oldest = minipool[0];
  const newest = minipool.at(-1);
  const head = oldest && newest && { oldest, newest };
  checkMinipoolHead(streamId, head, generation, slot);
  minipool.push({ generation, slot, envelope: copyBytes(envelope) });
}

/** See `StreamStorage.writeMiniblocks`. */
export function writeMiniblocks(
  streams: MemoryStreams,
  streamId: StreamId,
  miniblocks: MiniblockDescriptor[],
  newMinipool: NewMinipool,
  prevMinipool: PreviousMinipool,
): void {
  const stream = getStream(streams, streamId);
  if (stream.ephemeral) throw ephemeralStream(streamId);
  const last = stream.blocks.at(-1)?.number;
  const { minipool } = stream;
  checkMiniblocksFit(streamId, { last, minipool }, prevMinipool);
  const { generation, envelopes } = newMinipool;
  for (const block of miniblocks) {
    stream.blocks.push(toBlock(block, block.number));
  }
  stream.minipool = [
    ...emptyMinipool(generation),
    ...envelopes.map((envelope, slot) => ({
      generation,
      slot,
      envelope: copyBytes(envelope),
    })),
  ];
  stream.latestSnapshot = lastSnapshotIn(miniblocks) ?? stream.latestSnapshot;
  dropCandidatesBelow(stream, generation);
}

/** Drops the candidates for blocks that are stored now: they are useless. */
export function dropCandidatesBelow(
  stream: MemoryStream,
  number: bigint,
): void {
  stream.candidates = stream.candidates.filter((c) => c.number >= number);
}

/** See `StreamStorage.writeMiniblockCandidate`. */
export function writeMiniblockCandidate(
  streams: MemoryStreams,
  streamId: StreamId,
  miniblock: MiniblockDescriptor,
): void {
  const stream = getStream(streams, streamId);
  const last = stream.blocks.at(-1);
  if (last === undefined) throw noMiniblocks("NOT_FOUND", streamId);
  const { number } = miniblock;
  const hash = miniblock.hash!; // checked with the other arguments
  if (number <= last.number) {
    throw candidateTooOld(streamId, last.number, number);
  }
  const hex = bytesToHex(hash);
  if (findCandidate(stream, number, hex) !== undefined) {
    throw candidateExists(streamId, number, hex);
  }
  const block = toBlock(miniblock, number);
  stream.candidates.push({ ...block, hash: copyBytes(hash) });
  stream.candidates.sort(compareCandidates);
}

/** See `StreamStorage.readMiniblockCandidate`. */
export function readMiniblockCandidate(
  streams: MemoryStreams,
  streamId: StreamId,
  hash: Uint8Array,
  number: bigint,
): MiniblockDescriptor {
  const hex = bytesToHex(hash);
  const candidate = findCandidate(getStream(streams, streamId), number, hex);
  if (candidate === undefined) throw candidateNotFound(streamId, number, hex);
  return copyDescriptor(candidate);
}

/** See `StreamStorage.getMiniblockCandidateCount`. */
export function getMiniblockCandidateCount(
  streams: MemoryStreams,
  streamId: StreamId,
  number: bigint,
): number {
  return getStream(streams, streamId).candidates
    .filter((candidate) => candidate.number === number).length;
}

/** The order in which debug reads list candidates: by number and hash. */
function compareCandidates(
  a: MemoryCandidate,
  b: MemoryCandidate,
): number {
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  return bytesToHex(a.hash) < bytesToHex(b.hash) ? -1 : 1;
}

function findCandidate(
  stream: MemoryStream,
  number: bigint,
  hex: string,
): MemoryCandidate | undefined {
  return stream.candidates.find((candidate) =>
    candidate.number === number && bytesToHex(candidate.hash) === hex
  );
}
