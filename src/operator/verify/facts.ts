/** The figures of a stream, from its page or its inspection. */

import type { ValuesOf } from "../../database/wire/types.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { FactsStatement } from "./facts_sql.ts";

/** The count of rows of one kind, and their lowest and highest number. */
export interface Extent {
  n: bigint;
  first: bigint | null;
  last: bigint | null;
}

/** The figures of one stream, all of one snapshot. */
export interface StreamFacts {
  streamId: StreamId;
  /** Its row in `es`; undefined if there is none. */
  stream: {
    latest: bigint;
    ephemeral: boolean;
    /** `D` in the database, `S` or `G` in object storage. */
    location: string;
  } | undefined;
  /**
   * Whether the stream was deleted and its remaining rows are being removed.
   */
  isBeingDeleted: boolean;
  /** Whether the stream is on its way into object storage or back. */
  isBeingMoved: boolean;
  /** Blocks in the database. */
  blocks: Extent & {
    /** Blocks without data. */
    bare: bigint;
    /** The last block that has a snapshot beside it. */
    snapshot: bigint | null;
    /**
     * Whether the latest snapshot's block has a snapshot beside it; null: the
     * block is not stored.
     */
    latestHasOwn: boolean | null;
  };
  minipool: {
    n: bigint;
    lowest: bigint | null;
    highest: bigint | null;
    firstSlot: bigint | null;
    lastSlot: bigint | null;
    /** Rows without an envelope: the marker alone, if all is well. */
    bare: bigint;
    /** The generation of the marker; null: there is no marker. */
    marker: bigint | null;
  };
  candidates: { n: bigint; lowest: bigint | null; bare: bigint };
  /** Blocks in object storage. */
  places: Extent & { misfits: bigint };
  /**
   * Whether the stream has no minipool, but was created as only regular streams
   * are.
   */
  isMadeWhole: boolean;
}

type Row = ValuesOf<FactsStatement<[]>["columns"]>;

/** Reads a row of a facts statement. */
export function factsOf(row: Row): StreamFacts {
  const [streamId, latest, ephemeral, location, deleted, moved, ...rest] = row;
  const [blocks, first, last, bareBlocks, snapshot, latestHasOwn, ...more] =
    rest;
  const [n, lowest, highest, firstSlot, lastSlot, bare, marker, ...others] =
    more;
  const [candidates, due, bareCandidates, ...places] = others;
  return {
    streamId: streamId as StreamId,
    stream: latest === null ? undefined : {
      latest,
      ephemeral: ephemeral === true,
      location: location ?? "",
    },
    isBeingDeleted: deleted,
    isBeingMoved: moved,
    blocks: {
      n: blocks,
      first,
      last,
      bare: bareBlocks,
      snapshot,
      latestHasOwn,
    },
    minipool: { n, lowest, highest, firstSlot, lastSlot, bare, marker },
    candidates: { n: candidates, lowest: due, bare: bareCandidates },
    places: {
      n: places[0],
      first: places[1],
      last: places[2],
      misfits: places[3],
    },
    isMadeWhole: places[4],
  };
}

/**
 * The extent of the blocks that count: those in the location that the stream's
 * row names.
 */
export function extentOf({ stream, blocks, places }: StreamFacts): Extent {
  return stream === undefined || stream.location === "D" ? blocks : places;
}

/** Whether the numbers of the blocks are without a gap. */
export function isContiguous({ n, first, last }: Extent): boolean {
  return first !== null && last !== null && n === last - first + 1n;
}
