/** Undoes repairs, from the file that recorded them. */

import { operationError } from "../../database/failures.ts";
import { bind, type Bound, type Result } from "../../database/statement.ts";
import type { Store } from "../../postgres/store.ts";
import { writeStream } from "../../postgres/write_path/stream_write.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import type { UndoRepairsOptions, UndoResult } from "./options.ts";
import { openOwned } from "./owner.ts";
import {
  checkUnknown,
  deleteMarker,
  insertRows,
  movePointerBack,
} from "./repair_sql.ts";
import { type Change, readChanges } from "./undo_file.ts";

const operation = "undoRepairs";

/**
 * Undoes the changes that `applyRepairs` has recorded in a file, one after the
 * other. A change that is already undone stays so; the call can therefore be
 * repeated after a failure.
 *
 * @throws {StreamStorageError} as `applyRepairs`; `BAD_CONFIG` (`undo_file`):
 *   the file is not an undo file, is damaged, or belongs to another schema.
 */
export async function undoRepairs(
  undoFile: string,
  { onProgress, ...options }: UndoRepairsOptions,
): Promise<UndoResult[]> {
  const { signal, schema } = options;
  const results: UndoResult[] = [];
  try {
    await using owned = await openOwned(options);
    for await (const change of readChanges(undoFile, schema)) {
      signal?.throwIfAborted();
      const { streamId, kind } = change;
      const undone = await undo(owned.store, change);
      const result = { streamId, change: kind, ...undone };
      results.push(result);
      onProgress?.(result);
    }
  } catch (error) {
    throw operationError(operation, error, signal);
  }
  return results;
}

/**
 * The statements that undo a change. The last ones count the rows they wrote.
 */
function statementsOf(store: Store, change: Change): Bound[] {
  const { catalog } = store;
  const { streamId, suffix } = change;
  switch (change.kind) {
    case "rows": {
      const rows = bind(
        catalog.at(suffix, insertRows[change.table]),
        change.rows,
      );
      const check = bind(catalog.at(suffix, checkUnknown), streamId);
      return change.isOrphan ? [check, rows] : [rows];
    }
    case "marker":
      return [
        bind(
          catalog.at(suffix, deleteMarker),
          streamId,
          BigInt(change.generation),
        ),
        bind(catalog.at(suffix, insertRows.minipools), change.rows),
      ];
    case "pointer":
      return [bind(
        catalog.at(suffix, movePointerBack),
        streamId,
        BigInt(change.to),
        BigInt(change.from),
      )];
  }
}

async function undo(
  store: Store,
  change: Change,
): Promise<Pick<UndoResult, "outcome" | "rows">> {
  const streamId = change.streamId as StreamId;
  type Undone = Pick<UndoResult, "outcome" | "rows">;
  return await writeStream<Bound[], Undone>(store, {
    name: operation,
    streamId,
  }, {
    bytes: 0,
    bound: statementsOf(store, change),
    withoutLock: change.kind === "rows" && change.isOrphan,
    endsBeliefs: true,
    settle: (results) => {
      const rows = countOf(change, results ?? []);
      return { outcome: rows === 0 ? "not_needed" : "done", rows };
    },
    refused: () => ({ outcome: "changed", rows: 0 }),
  });
}

/**
 * The number of changed rows. A removed marker and a restored one count as one
 * each.
 */
function countOf({ kind }: Change, results: readonly Result[]): number {
  return kind === "marker"
    ? results.reduce((rows, { count }) => rows + count, 0)
    : results.at(-1)?.count ?? 0;
}
