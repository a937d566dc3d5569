import { bind } from "../../database/statement.ts";
import {
  deleteStrayBlocks,
  deleteStrayKeeps,
  deleteStrayMarks,
} from "../sql/strays.ts";
import type { Store } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";

const pageStreams = 50n;
/** Without a bound, a statement might not end before its deadline. */
const maxRows = 10_000n;

/** What each statement returns: number of rows, of streams, the last id. */
type Removed = [{ rows: [bigint, bigint, string | null][] }];

/**
 * Removes the rows of our own tables about streams that a node has deleted,
 * which no call reads any more. Returns the number of these streams for each
 * table.
 */
export async function removeStrays(
  store: Store,
  name: string,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  for (
    const template of [deleteStrayBlocks, deleteStrayMarks, deleteStrayKeeps]
  ) {
    const remove = store.catalog.at("", template);
    for (let after: string | null = ""; after !== null;) {
      signal.throwIfAborted();
      const results: Removed = await writeOwnRows(store, { name, signal }, [
        bind(remove, after, pageStreams, maxRows),
      ]);
      const [rows, streams, last] = results[0].rows[0]!;
      removed += Number(streams);
      if (rows < maxRows) after = last;
    }
  }
  return removed;
}
