/** What a stream takes. */

import type { ValuesOf } from "../../database/wire/types.ts";
import {
  type StreamId,
  type StreamType,
  streamType,
} from "../../storage/stream_id.ts";
import { locationOf } from "../location.ts";
import type { StreamLocation } from "../status/types.ts";
import type { selectSizes } from "./sizes_sql.ts";

/** What a stream takes, in rows and in bytes of payload. */
export interface StreamSizes {
  /** The stream. */
  streamId: StreamId;
  /** By the first byte of its id. */
  type: StreamType;
  /** Whether it is being uploaded. */
  isEphemeral: boolean;
  /** Where its blocks are. */
  location: StreamLocation;
  /** The block of its latest snapshot, as its row says. */
  latestSnapshot: bigint;
  /** Its blocks in the database. */
  blocks: bigint;
  /** The first one; null: it has none. */
  firstBlock: bigint | null;
  /** The last one. */
  lastBlock: bigint | null;
  /** Of their data. */
  blockBytes: bigint;
  /** Blocks beside which a snapshot stands. */
  snapshots: bigint;
  /** Of these snapshots. */
  snapshotBytes: bigint;
  /** Of blocks and snapshots before the latest snapshot: trimming takes no more. */
  oldBytes: bigint;
  /** Events in its minipool. */
  events: bigint;
  /** Of them. */
  minipoolBytes: bigint;
  /** Proposed blocks. */
  candidates: bigint;
  /** Of them, with their snapshots. */
  candidateBytes: bigint;
  /** Blocks in object storage. */
  outsideBlocks: bigint;
  /** Of them. */
  outsideBytes: bigint;
  /** Whether numbers are missing between the first block and the last. */
  hasGaps: boolean;
}

/** What all of it takes in the database. */
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
