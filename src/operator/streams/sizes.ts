/** The sizes of streams. */

import type { ValuesOf } from "../../database/wire/types.ts";
import {
  type StreamId,
  type StreamType,
  streamType,
} from "../../storage/stream_id.ts";
import { locationOf } from "../location.ts";
import type { StreamLocation } from "../status/types.ts";
import type { selectSizes } from "./sizes_sql.ts";

/** The size of a stream, in rows and in bytes of payload. */
export interface StreamSizes {
  /** The stream. */
  streamId: StreamId;
  /** By the first byte of its id. */
  type: StreamType;
  /** Whether it is being uploaded. */
  isEphemeral: boolean;
  /** Where its blocks are. */
  location: StreamLocation;
  /** The block of its latest snapshot, according to its row. */
  latestSnapshot: bigint;
  /** The number of its blocks in the database. */
  blocks: bigint;
  /** The number of its first block there; null: it has none. */
  firstBlock: bigint | null;
  /** The number of its last block there. */
  lastBlock: bigint | null;
  /** Bytes of these blocks' data. */
  blockBytes: bigint;
  /** The number of blocks that have a snapshot beside them. */
  snapshots: bigint;
  /** Bytes of these snapshots. */
  snapshotBytes: bigint;
  /**
   * Bytes of blocks and snapshots before the latest snapshot, the most that
   * trimming can free.
   */
  oldBytes: bigint;
  /** The number of events in its minipool. */
  events: bigint;
  /** Their bytes. */
  minipoolBytes: bigint;
  /** The number of candidates. */
  candidates: bigint;
  /** Bytes of the candidates with their snapshots. */
  candidateBytes: bigint;
  /** The number of blocks in object storage. */
  outsideBlocks: bigint;
  /** Their bytes. */
  outsideBytes: bigint;
  /** Whether numbers are missing between the first block and the last. */
  hasGaps: boolean;
}

/** The sum of a stream's bytes in the database. */
export function bytesOf(
  { blockBytes, snapshotBytes, minipoolBytes, candidateBytes }: Pick<
    StreamSizes,
    "blockBytes" | "snapshotBytes" | "minipoolBytes" | "candidateBytes"
  >,
): bigint {
  return blockBytes + snapshotBytes + minipoolBytes + candidateBytes;
}

type Row = ValuesOf<ReturnType<typeof selectSizes>["columns"]>;

/** Reads a row of the statement. */
export function sizesOf(row: Row): StreamSizes {
  const [id, latestSnapshot, isEphemeral, letter, ...figures] = row;
  const [blocks, first, last, blockBytes, snapshots, snapshotBytes, ...more] =
    figures;
  const [oldBytes, events, minipoolBytes, candidates, candidateBytes, ...rest] =
    more;
  const [outsideBlocks, firstOutside, lastOutside, outsideBytes] = rest;
  const location = locationOf(letter);
  const isInside = location === "database";
  return {
    streamId: id as StreamId,
    type: streamType(id as StreamId),
    isEphemeral,
    location,
    latestSnapshot,
    blocks,
    firstBlock: isInside ? first : firstOutside,
    lastBlock: isInside ? last : lastOutside,
    blockBytes,
    snapshots,
    snapshotBytes,
    oldBytes,
    events,
    minipoolBytes,
    candidates,
    candidateBytes,
    outsideBlocks,
    outsideBytes,
    hasGaps: isInside
      ? hasGaps(blocks, first, last)
      : hasGaps(outsideBlocks, firstOutside, lastOutside),
  };
}

function hasGaps(
  n: bigint,
  first: bigint | null,
  last: bigint | null,
): boolean {
  return first !== null && last !== null && n !== last - first + 1n;
}
