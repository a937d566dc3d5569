import { bind } from "../../database/statement.ts";
import type { OperationOptions } from "../../storage/model.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { countStreams, selectStreamIds } from "../sql/streams.ts";
import type { ReadStore } from "../store.ts";

/** Ids read by one statement. */
const pageSize = 10_000;

/** The ids above `after`, ascending, at most `limit` (default: all). */
export async function listStreams(
  store: ReadStore,
  { after, limit = Infinity, signal }: OperationOptions & {
    after?: StreamId | undefined;
    limit?: number | undefined;
  },
): Promise<StreamId[]> {
  const ids: StreamId[] = [];
  const select = store.catalog.at("", selectStreamIds);
  for (let from: string = after ?? "";;) {
    const wanted = Math.min(pageSize, limit - ids.length);
    const [{ rows }] = await store.transactions.read(
      { name: "getStreams", signal },
      [bind(select, from, BigInt(wanted))],
    );
    for (const [id] of rows) ids.push(id as StreamId);
    if (rows.length < wanted || ids.length >= limit) return ids;
    from = ids.at(-1)!;
  }
}

/** The number of streams. */
export async function countAllStreams(
  store: ReadStore,
  { signal }: OperationOptions,
): Promise<number> {
  const [{ rows: [row] }] = await store.transactions.read(
    { name: "getStreamsNumber", signal },
    [bind(store.catalog.at("", countStreams))],
  );
  return Number(row![0]);
}
