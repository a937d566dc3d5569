/** Explains in words why a stream is large. */

import { bytesOf, type StreamSizes } from "../streams/sizes.ts";

/** A part that exceeds this share of a stream explains its size. */
const dominantShare = 0.5;

/** From this many blocks on, a missing snapshot is a reason. */
const manyBlocks = 1000n;

/** Returns the reason that explains most of a stream's size. */
export function reasonOf(stream: StreamSizes): string {
  const bytes = Number(bytesOf(stream));
  const share = (part: bigint) => bytes === 0 ? 0 : Number(part) / bytes;
  const {
    type,
    blocks,
    blockBytes,
    snapshots,
    snapshotBytes,
    events,
    minipoolBytes,
    candidates,
    candidateBytes,
    oldBytes,
  } = stream;
  if (bytes === 0) return "none of it is in the database";
  if (share(minipoolBytes) > dominantShare) {
    return `${events} events wait in its minipool for a block`;
  }
  if (share(candidateBytes) > dominantShare) {
    return `${candidates} proposed blocks were never chosen`;
  }
  if (stream.isEphemeral) {
    return `an unfinished upload, ${blocks} blocks`;
  }
  if (type === "media") {
    return `media, ${blocks} blocks; they could be moved to object storage`;
  }
  if (share(oldBytes) > dominantShare) {
    const percent = Math.round(share(oldBytes) * 100);
    return `${percent} % is older than its latest snapshot; see trim`;
  }
  if (share(snapshotBytes) > dominantShare) return `${snapshots} snapshots`;
  const since = (stream.lastBlock ?? 0n) - stream.latestSnapshot;
  if (since > manyBlocks) return `no snapshot since ${since} blocks`;
  return share(blockBytes) > dominantShare
    ? `${blocks} blocks`
    : `${blocks} blocks, ${snapshots} snapshots, ${events} events`;
}
