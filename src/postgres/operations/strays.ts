import { bind } from "../../database/statement.ts";
import {
  deleteStrayBlocks,
  deleteStrayKeeps,
  deleteStrayMarks,
} from "../sql/strays.ts";
import type { Store } from "../store.ts";
import { writeOwnRows } from "../write_path/stream_write.ts";

const pageStreams = 50n;
/** A statement without a bound may not end before its deadline. */
const maxRows = 10_000n;

/** Rows, streams, the last id: what each statement returns. */
type Removed = [{ rows: [bigint, bigint, string | null][] }];

/**
 * Removes what our own tables keep about streams that a node has deleted, which
 * nobody reads any more. Returns how many streams that were, in each table.
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
