/**
 * Reads a whole stream of any size as it was at one moment, in pages.
 *
 * One flush, which sees one state, reads the stream's row, minipool,
 * candidates, first page of blocks, and a version that identifies the rows of
 * its blocks (`selectBlocksVersion`). Most streams end with that page. The
 * other pages of a larger stream follow in flushes of their own. Its blocks up
 * to that moment's last one never change, unless the stream is trimmed, moved
 * into object storage, rebuilt, or deleted and made again. So after the last
 * page the version is read once more. If it has changed, the pages do not
 * belong to one moment ({@linkcode StreamMovedError}), and the caller begins
 * again. A stream may grow meanwhile.
 *
 * One long transaction would need none of this. But it would keep the server
 * from removing dead rows, for hours if the reading is throttled. A standby
 * would cancel it for its recovery. And it would occupy a pooler's session for
 * as long.
 */

import type { Template } from "../../../postgres/catalog.ts";
import { bind } from "../../../database/statement.ts";
import {
  findPage,
  type MiniblocksPage,
  pageBytes,
} from "../../../postgres/operations/read_miniblocks.ts";
import {
  pageRowKind,
  selectBlocksVersion,
  selectMiniblocksPage,
} from "../../../postgres/sql/reading.ts";
import { findLast } from "../../../postgres/operations/miniblock_numbers.ts";
import { selectVersion } from "../../../postgres/sql/external.ts";
import type { ReadStore, StreamCall } from "../../../postgres/store.ts";
import { latestSnapshotOf, type MiniblockRow } from "../../../storage/rules.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import { fault } from "../../../storage/fault.ts";
import { StreamStorageError } from "../../../storage/errors.ts";
import type { CandidateRow, StreamHead, StreamTail } from "../format/model.ts";
import { brokenStream, StreamRules } from "../format/rules.ts";
import {
  selectCandidates,
  selectMinipool,
  selectStreamHead,
} from "./source_sql.ts";

/**
 * The pages that were read do not belong to one moment; see the file's head.
 */
class StreamMovedError extends Error {
  override readonly name = "StreamMovedError";
}

/** A stream as it was at one moment. */
export interface StreamView {
  readonly head: StreamHead;
  /** The last block, -1 without any. */
  readonly last: bigint;
  readonly tail: StreamTail;
  /**
   * Yields its blocks from `from` on, a page at a time. It may be called once.
   *
   * @throws {StreamMovedError} after some of the pages.
   */
  blocks(from?: bigint): AsyncGenerator<readonly MiniblockRow[]>;
}

const maxNumber = 2n ** 63n - 1n;

/** Reads a stream; undefined if there is no such stream. */
export async function readWholeStream(
  store: ReadStore,
  { name, streamId, signal }: StreamCall,
): Promise<StreamView | undefined> {
  const call = { name, streamId, signal };
  const { catalog, transactions } = store;
  const ofStream = <T>(template: Template<T>) => catalog.of(streamId, template);
  const [heads, version, events, candidates, page] = await transactions.read(
    { name, tags: streamId, signal },
    [
      bind(ofStream(selectStreamHead), streamId),
      bind(ofStream(selectBlocksVersion), streamId, maxNumber),
      bind(ofStream(selectMinipool), streamId),
      bind(ofStream(selectCandidates), streamId),
      bind(
        ofStream(selectMiniblocksPage),
        ...[streamId, 0n, maxNumber, pageBytes, false] as const,
      ),
    ],
  );
  const row = heads.rows[0];
  if (row === undefined) return undefined;
  const [latest, isEphemeral, location, rowVersion, stored] = row;
  const isOutside = location !== "D";
  const seen = version.rows[0]!;
  const wasSeen = async () => {
    const [now, [rowNow]] = await versionsOf(store, call, seen[2]);
    return isOutside
      ? rowNow === rowVersion
      : now![0] === seen[0] && now![1] === seen[1];
  };
  const hasMinipool = events.rows.length > 0;
  const head: StreamHead = {
    streamId,
    kind: isEphemeral ? "ephemeral" : hasMinipool ? "regular" : "archive",
    latestSnapshot: latestSnapshotOf(latest),
  };
  const first = isOutside ? undefined : pageOf(page.rows);
  const last = isOutside ? await lastOutside(store, call) : stored ?? -1n;
  return {
    head,
    last,
    tail: {
      minipool: hasMinipool ? minipoolOf(streamId, events.rows) : undefined,
      candidates: candidatesOf(candidates.rows, last),
    },
    blocks: (from = 0n) =>
      readBlocks(store, call, { from, last, first, wasSeen }),
  };
}

/** Candidates up to the last block are leftovers of blocks that were added. */
function candidatesOf(
  rows: readonly (readonly [bigint, string, Uint8Array, Uint8Array | null])[],
  last: bigint,
): CandidateRow[] {
  return rows
    .map(([number, hash, data, snapshot]) => ({ number, hash, data, snapshot }))
    .filter(({ number }) => number > last);
}

async function* readBlocks(
  store: ReadStore,
  call: StreamCall,
  { from, last, first, wasSeen }: {
    from: bigint;
    last: bigint;
    first: Pick<MiniblocksPage, "blocks" | "hasNext"> | undefined;
    wasSeen: () => Promise<boolean>;
  },
): AsyncGenerator<readonly MiniblockRow[]> {
  let at = from;
  if (first !== undefined) {
    const wanted = first.blocks.filter(({ number }) => number >= from);
    if (wanted.length > 0) yield wanted;
    // The first flush has read everything.
    if (!first.hasNext) return;
    const next = first.blocks.at(-1)!.number + 1n;
    if (next > at) at = next;
  }
  while (at <= last) {
    const page = await findPage(store, call, {
      from: at,
      last,
      omitSnapshot: false,
    });
    const end = page?.blocks.at(-1)?.number;
    if (page === undefined || (end === undefined && page.hasNext)) {
      throw new StreamMovedError(call.streamId);
    }
    if (page.blocks.length > 0) yield page.blocks;
    if (!page.hasNext) break;
    at = end! + 1n;
  }
  if (!await wasSeen()) throw new StreamMovedError(call.streamId);
}

async function versionsOf(
  { catalog, transactions }: ReadStore,
  { name, streamId, signal }: StreamCall,
  upTo: bigint,
) {
  const [blocks, row] = await transactions.read(
    { name, tags: streamId, signal },
    [
      bind(catalog.of(streamId, selectBlocksVersion), streamId, upTo),
      bind(catalog.of(streamId, selectVersion), streamId),
    ],
  );
  return [blocks.rows[0], row.rows[0] ?? [undefined]] as const;
}

/**
 * Returns the last block in object storage. Only a sealed stream is moved
 * there, so it never grows.
 */
async function lastOutside(
  store: ReadStore,
  call: StreamCall,
): Promise<bigint> {
  const found = await findLast(store, call);
  return found?.last ?? -1n;
}

function pageOf(
  [, ...rows]: readonly (readonly [
    kind: number,
    number: bigint,
    data: Uint8Array | null,
    snapshot: Uint8Array | null,
    ...unknown[],
  ])[],
): Pick<MiniblocksPage, "blocks" | "hasNext"> {
  const hasNext = rows.at(-1)?.[0] === pageRowKind.next;
  const blocks = (hasNext ? rows.slice(0, -1) : rows).map((
    [, number, data, snapshot],
  ) => ({ number, data: data!, snapshot }));
  return { blocks, hasNext };
}

function minipoolOf(
  streamId: StreamId,
  rows: readonly (readonly [
    generation: bigint,
    slot: bigint,
    envelope: Uint8Array | null,
  ])[],
) {
  const generation = rows[0]![0];
  const isWhole = rows.every((row, i) =>
    row[0] === generation && row[1] === BigInt(i) - 1n
  );
  if (!isWhole) {
    throw fault(
      "FAILED_PRECONDITION",
      brokenStream,
      `Stream ${streamId} is broken: expected a marker and events without a ` +
        `hole in its minipool, found others`,
      { streamId },
    );
  }
  return {
    generation,
    envelopes: rows.slice(1).map(([, , envelope]) =>
      envelope ?? new Uint8Array()
    ),
  };
}

/** How often a stream that changes is read from its beginning. */
const maxReadings = 5;

/**
 * Receives a stream in parts, and discards them if the reading has to begin
 * again.
 */
export interface StreamTaker<T> {
  begin(head: StreamHead): void | Promise<void>;
  blocks(blocks: readonly MiniblockRow[]): void | Promise<void>;
  end(tail: StreamTail): T | Promise<T>;
  /** Discards all parts since `begin`. */
  withdraw(): void | Promise<void>;
}

/**
 * Passes a stream to `taker`, and begins again if the stream changes meanwhile.
 * Returns undefined if the stream is gone.
 *
 * @throws {StreamStorageError} FAILED_PRECONDITION (`broken_stream`): the
 *   stream breaks the rules; MINIBLOCKS_NOT_FOUND (`stream_moved`): it keeps
 *   changing.
 */
export async function passStream<T>(
  store: ReadStore,
  call: StreamCall,
  { taker, view, from = 0n }: {
    taker: StreamTaker<T>;
    /** The view of the stream that was read already. */
    view?: StreamView | undefined;
    from?: bigint;
  },
): Promise<T | undefined> {
  for (let readings = 1; readings <= maxReadings; readings++) {
    const now = readings === 1 && view !== undefined
      ? view
      : await readWholeStream(store, call);
    if (now === undefined) return undefined;
    await taker.begin(now.head);
    try {
      const rules = new StreamRules(now.head);
      for await (const blocks of now.blocks(from)) {
        call.signal?.throwIfAborted();
        for (const block of blocks) rules.block(block);
        await taker.blocks(blocks);
      }
      if (from === 0n && rules.last !== now.last) {
        throw new StreamMovedError(call.streamId);
      }
      rules.tail(now.tail, now.last);
      return await taker.end(now.tail);
    } catch (error) {
      await taker.withdraw();
      if (!(error instanceof StreamMovedError)) throw error;
    }
  }
  throw new StreamStorageError({
    code: "MINIBLOCKS_NOT_FOUND",
    message: `Stream ${call.streamId} kept changing while it was read`,
    details: { reason: "stream_moved", streamId: call.streamId },
    retryable: true,
  });
}
