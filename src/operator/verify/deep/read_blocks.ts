/**
 * Reads every block of a page of streams once and checks it. The next page is
 * requested before the last one is checked, so that the server reads while this
 * process hashes.
 */

import { bind } from "../../../database/statement.ts";
import type { StreamId } from "../../../storage/stream_id.ts";
import type { Ground } from "../ground.ts";
import type { StreamWithBlocks } from "../walk.ts";
import {
  readInOrder,
  selectBlockAndBefore,
  selectBlocksAfter,
  selectBlocksOf,
} from "./blocks_sql.ts";
import type { Link } from "./check.ts";
import type { DeepEvidence, DeepPage, ReadAgain } from "./suspects.ts";

/** The blocks to read. */
export interface DeepRange {
  suffix: string;
  /** The streams, in the order of the key. */
  streams: readonly StreamWithBlocks[];
  /** How many of the last blocks of each stream to read; undefined: all. */
  since: bigint | undefined;
}

type Rows = readonly (readonly [string, bigint, Uint8Array])[];

/** Reads the range in pages and checks it. */
export async function* readBlocks(
  ground: Ground,
  evidence: DeepEvidence,
  range: DeepRange,
): AsyncGenerator<DeepPage> {
  const readAgain = againIn(ground, range.suffix);
  let before: (Link & { streamId: string }) | undefined;
  for await (const rows of pagesOf(ground, range)) {
    let bytes = 0;
    for (const [id, number, data] of rows) {
      bytes += data.length;
      const streamId = id as StreamId;
      const link = evidence.check(
        streamId,
        { number, data },
        before?.streamId === streamId ? before : undefined,
        readAgain,
      );
      before = link && { ...link, streamId };
    }
    yield { bytes, findings: await evidence.takeFindings() };
  }
}

/** Yields pages of rows. The next page is on its way while one is checked. */
async function* pagesOf(
  ground: Ground,
  range: DeepRange,
): AsyncGenerator<Rows> {
  const parts = range.since === undefined
    ? [wholeRange(ground, range)]
    : range.streams.map((stream) => lastBlocks(ground, range, stream));
  for (const read of parts) {
    let next = read(undefined);
    for (;;) {
      const rows = await next;
      const last = rows.at(-1);
      if (last === undefined) break;
      next = read(last);
      // If the caller stops in between, the rejection must not go unhandled.
      next.catch(() => {});
      yield rows;
    }
  }
}

type ReadAfter = (last: Rows[number] | undefined) => Promise<Rows>;

function wholeRange(
  { catalog, read }: Ground,
  { suffix, streams }: DeepRange,
): ReadAfter {
  const select = catalog.at(suffix, selectBlocksAfter);
  const streamIds = streams.map(({ streamId }) => streamId);
  const [first, end] = [streamIds[0]!, streamIds.at(-1)!];
  return async (last) => {
    const [id, number] = last ?? [first, -1n];
    const [, { rows }] = await read([
      bind(readInOrder),
      bind(select, id, number, end, streamIds),
    ]);
    return rows;
  };
}

function lastBlocks(
  { catalog, read }: Ground,
  { suffix, since }: DeepRange,
  { streamId, last: end }: StreamWithBlocks,
): ReadAfter {
  const select = catalog.at(suffix, selectBlocksOf);
  return async (last) => {
    const after = last?.[1] ?? end - since!;
    const [{ rows }] = await read([bind(select, streamId, after)]);
    return rows;
  };
}

function againIn({ catalog, read }: Ground, suffix: string): ReadAgain {
  const select = catalog.at(suffix, selectBlockAndBefore);
  return async (streamId, number) => {
    const [{ rows }] = await read([bind(select, streamId, number)]);
    return rows.map(([number, data]) => ({ number, data }));
  };
}
