import { bind } from "../../database/statement.ts";
import {
  corruptStream,
  noMiniblocks,
  streamNotFound,
} from "../../storage/contract_errors.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { MiniblockRange } from "../../storage/model.ts";
import { rangesOf } from "../../storage/rules.ts";
import {
  selectLastMiniblock,
  selectMiniblockData,
  selectMiniblockNumbers,
  selectPageEnd,
} from "../sql/reading.ts";
import type { Store, StreamCall } from "../store.ts";

/** The number of the stream's last block. */
export async function lastMiniblockNumber(
  store: Store,
  { name, streamId, signal }: StreamCall,
): Promise<bigint> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectLastMiniblock), streamId)],
  );
  if (row === undefined) throw streamNotFound(streamId);
  const [last, isEmptyGenesis] = row;
  if (last === null) throw noMiniblocks("NOT_FOUND", streamId);
  if (isEmptyGenesis) throw corruptStream(streamId, 0n);
  return last;
}

/** The runs of stored numbers, with the blocks that carry a snapshot. */
export async function miniblockRanges(
  store: Store,
  call: StreamCall,
): Promise<MiniblockRange[]> {
  const { name, streamId, signal } = call;
  const known = store.legacySnapshots.of(streamId);
  const [{ rows }] = await store.transactions.read(
    { name, tags: streamId, signal },
    [bind(store.catalog.of(streamId, selectMiniblockNumbers), streamId)],
  );
  const unread = rows.filter(([number, own]) => !own && !known.has(number)).map(
    ([number]) => number,
  );
  const found = unread.length === 0
    ? undefined
    : await search(store, call, known, unread[0]!, unread.at(-1)!);
  return rangesOf(
    rows.map(([number, own]) => ({
      number,
      hasSnapshot: own || found?.has(number) || known.get(number) === true,
    })),
  );
}

const searchBytes = 8n * 1024n * 1024n;

/** Which of the blocks hold a snapshot inside; they are read page by page. */
async function search(
  store: Store,
  { name, streamId, signal }: StreamCall,
  known: ReadonlyMap<bigint, boolean>,
  first: bigint,
  last: bigint,
): Promise<Set<bigint>> {
  const { catalog, transactions } = store;
  const found = new Set<bigint>();
  const context = { name, tags: streamId, signal };
  for (let from = first; from <= last;) {
    const [{ rows: [row] }] = await transactions.read(context, [
      bind(
        catalog.of(streamId, selectPageEnd),
        streamId,
        from,
        last,
        searchBytes,
        true,
      ),
    ]);
    const end = row?.[0] ?? last;
    const [{ rows }] = await transactions.read(context, [
      bind(catalog.of(streamId, selectMiniblockData), streamId, from, end),
    ]);
    for (const [number, data] of rows) {
      const holds = hasLegacySnapshot(data);
      store.legacySnapshots.learn(streamId, known, number, holds);
      if (holds) found.add(number);
    }
    from = end + 1n;
  }
  return found;
}
