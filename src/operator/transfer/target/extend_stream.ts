/**
 * Brings an existing stream up to another one, piece by piece. The caller has
 * compared them: the existing stream is a beginning of the other, or lacks some
 * of its blocks. After each piece the stream loads, because the piece ends with
 * an empty minipool; the last piece brings the other stream's minipool. Writing
 * a piece twice has the effect of writing it once.
 */

import { bind, type Bound } from "../../../database/statement.ts";
import type { Catalog, Template } from "../../../postgres/catalog.ts";
import { checkLocation } from "../../../postgres/sql/external.ts";
import {
  insertFreeMiniblock,
  setSnapshot,
} from "../../../postgres/sql/miniblocks.ts";
import {
  deleteMinipool,
  insertMarker,
} from "../../../postgres/sql/minipools.ts";
import {
  deleteEphemeralAge,
  regularizeStream,
  updateHead,
} from "../../../postgres/sql/streams.ts";
import type { Store, StreamCall } from "../../../postgres/store.ts";
import { writeStream } from "../../../postgres/write_path/stream_write.ts";
import { storedExternally } from "../../../storage/contract_errors.ts";
import type { MiniblockRow } from "../../../storage/rules.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import { bytesOfBlocks, bytesOfTail } from "../counting.ts";
import type { StreamHead, StreamTail } from "../format/model.ts";
import { tailRows } from "./tail_rows.ts";
import { deleteCandidates, raiseHead } from "./target_sql.ts";

/** A piece of a stream. */
export interface Piece {
  head: StreamHead;
  piece: readonly MiniblockRow[];
  /** The last block before the first piece. */
  stored: bigint;
  /** The stream's tail, with the last piece. */
  tail: StreamTail | undefined;
}

/** Adds a piece; see the file's head. */
export async function extendStream(
  store: Store,
  call: StreamCall,
  { head, piece, stored, tail }: Piece,
): Promise<void> {
  const { catalog } = store;
  const { streamId } = head;
  const last = piece.at(-1)?.number ?? -1n;
  await writeStream(store, call, {
    bytes: bytesOfBlocks(piece) + (tail ? bytesOfTail(tail) : 0),
    endsBeliefs: true,
    bound: async () => [
      bind(catalog.of(streamId, checkLocation), streamId, "D"),
      ...piece.flatMap((block) => missing(catalog, streamId, block, stored)),
      ...(tail
        ? await finalHead(catalog, head, tail)
        : last > stored
        ? passingHead(catalog, head, piece)
        : []),
    ],
    refused: () => storedExternally(streamId),
  });
}

/** Adds a block, or the snapshot that the stored block lacks. */
function missing(
  catalog: Catalog,
  streamId: StreamId,
  { number, data, snapshot }: MiniblockRow,
  stored: bigint,
): Bound[] {
  const given = snapshot?.length ? snapshot : null;
  const insert = bind(
    catalog.of(streamId, insertFreeMiniblock),
    ...[streamId, number, data, given] as const,
  );
  if (given === null || number > stored) return [insert];
  const set = catalog.of(streamId, setSnapshot);
  return [insert, bind(set, streamId, number, given)];
}

/**
 * Writes an empty minipool, so that the stream loads if no other piece follows.
 */
function passingHead(
  catalog: Catalog,
  { streamId, kind }: StreamHead,
  piece: readonly MiniblockRow[],
): Bound[] {
  const of = <T>(template: Template<T>) => catalog.of(streamId, template);
  const latest = piece.findLast(({ snapshot }) => snapshot?.length);
  const generation = piece.at(-1)!.number + 1n;
  return [
    ...(latest ? [bind(of(raiseHead), streamId, latest.number)] : []),
    ...(kind === "regular"
      ? [
        bind(of(deleteMinipool), streamId),
        bind(of(insertMarker), streamId, generation),
      ]
      : []),
  ];
}

async function finalHead(
  catalog: Catalog,
  { streamId, kind, latestSnapshot }: StreamHead,
  tail: StreamTail,
): Promise<Bound[]> {
  const of = <T>(template: Template<T>) => catalog.of(streamId, template);
  const isEphemeral = kind === "ephemeral";
  const head = isEphemeral ? updateHead : regularizeStream;
  return [
    bind(of(head), streamId, latestSnapshot),
    ...(isEphemeral ? [] : [bind(of(deleteEphemeralAge), streamId)]),
    bind(of(deleteMinipool), streamId),
    bind(of(deleteCandidates), streamId),
    ...await tailRows(catalog, streamId, tail),
  ];
}
