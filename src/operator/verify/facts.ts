/** A stream's figures, as its page or its inspection found them. */

import type { ValuesOf } from "../../database/wire/types.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { FactsStatement } from "./facts_sql.ts";

/** How many rows of a kind there are, and their lowest and highest number. */
export interface Extent {
  n: bigint;
  first: bigint | null;
  last: bigint | null;
}

/** The figures of one stream, all of one snapshot. */
export interface StreamFacts {
  streamId: StreamId;
  /** Its row in `es`; undefined: there is none. */
  stream: {
    latest: bigint;
    ephemeral: boolean;
    /** `D` in the database, `S` or `G` in object storage. */
    location: string;
  } | undefined;
  /** It was deleted, and what is left of it goes bit by bit. */
  isBeingDeleted: boolean;
  /** It is on its way into object storage or back. */
  isBeingMoved: boolean;
  /** Blocks in the database. */
  blocks: Extent & {
    /** Blocks without data. */
    bare: bigint;
    /** The last one beside which a snapshot stands. */
    snapshot: bigint | null;
    /** Whether the latest snapshot's block has one; null: it is not stored. */
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
    /** The generation of the marker; null: there is none. */
    marker: bigint | null;
  };
  candidates: { n: bigint; lowest: bigint | null; bare: bigint };
  /** Blocks in object storage. */
  places: Extent & { misfits: bigint };
  /** There is no minipool, but it was made as only a regular stream is. */
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

/** The blocks that count: those where the stream's row says that they are. */
export function extentOf({ stream, blocks, places }: StreamFacts): Extent {
  return stream === undefined || stream.location === "D" ? blocks : places;
}

/** Whether the numbers of the blocks have no gap. */
export function isContiguous({ n, first, last }: Extent): boolean {
  return first !== null && last !== null && n === last - first + 1n;
}
