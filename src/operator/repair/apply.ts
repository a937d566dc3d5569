/**
 * Carries out planned repairs. Each change is a transaction of its own, behind
 * the fence and under the stream's lock, like every write of a store. The
 * transaction checks that the finding still holds. Before it is sent, the undo
 * file holds the rows that it removes.
 */

import { operationError } from "../../database/failures.ts";
import { bind, type Bound, type Result } from "../../database/statement.ts";
import { insertMarker } from "../../postgres/sql/minipools.ts";
import { selectMiniblock } from "../../postgres/sql/state.ts";
import {
  contextOf,
  type Store,
  type StreamCall,
} from "../../postgres/store.ts";
import { writeStream } from "../../postgres/write_path/stream_write.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { bigintDetail } from "../verify/findings.ts";
import type { ApplyRepairsOptions, RepairResult } from "./options.ts";
import { openOwned } from "./owner.ts";
import type { Repair } from "./plan.ts";
import {
  checkOnlyMarkerWrong,
  movePointer,
  type RowKind,
  rowStatements,
  selectPointer,
} from "./repair_sql.ts";
import { type RowTable, splitTableName } from "./tables.ts";
import { type Change, UndoWriter } from "./undo_file.ts";

const operation = "applyRepairs";

/**
 * Carries out the repairs of `planRepairs`, one after the other.
 *
 * @throws {StreamStorageError} as `openStreamStorage`; `RESOURCE_EXHAUSTED`
 *   (`schema_owned`): an instance owns the schema; `BAD_CONFIG` (`undo_file`):
 *   the file exists, or can't be made; `CANCELED`: the signal. Finished repairs
 *   stay done and are in the undo file.
 */
export async function applyRepairs(
  repairs: Iterable<Repair>,
  { undoFile, onProgress, ...options }: ApplyRepairsOptions,
): Promise<RepairResult[]> {
  const { signal } = options;
  const results: RepairResult[] = [];
  try {
    // First the file: if it can't be made, no instance may lose the schema for
    // it.
    await using undo = await UndoWriter.create(undoFile, options.schema);
    await using owned = await openOwned(options);
    for (const repair of repairs) {
      signal?.throwIfAborted();
      const result = { repair, ...await apply({ ...owned, undo }, repair) };
      results.push(result);
      onProgress?.(result);
    }
  } catch (error) {
    throw operationError(operation, error, signal);
  }
  return results;
}

interface Bench {
  store: Store;
  undo: UndoWriter;
}

type Outcome = Pick<RepairResult, "outcome" | "rows">;

async function apply(bench: Bench, repair: Repair): Promise<Outcome> {
  const { action, finding } = repair;
  const streamId = finding.streamId as StreamId;
  const { suffix } = bench.store.catalog.tablesOf(streamId);
  const rows = (table: RowTable, kind: RowKind, suffixOfTable = suffix) =>
    deleteRows(bench, { streamId, suffix: suffixOfTable, table, kind });
  switch (action.kind) {
    case "none":
      return { outcome: "by_hand", rows: 0 };
    case "delete_orphans": {
      const at = splitTableName(action.table);
      return at === undefined
        ? { outcome: "changed", rows: 0 }
        : await rows(at.table, "orphan", at.suffix);
    }
    case "delete_stale_candidates":
      return await rows("miniblock_candidates", "stale");
    case "delete_minipool":
      return await rows("minipools", "ephemeral");
    case "write_marker":
      return await writeMarker(bench, streamId, action.generation);
    case "point_snapshot":
      return await movePointerTo(bench, streamId, action);
  }
}

/** Rows of one stream in one table. */
interface Rows {
  streamId: StreamId;
  suffix: string;
  table: RowTable;
  kind: RowKind;
}

/** Deletes page by page, because a stream's rows may not fit into memory. */
async function deleteRows(bench: Bench, rows: Rows): Promise<Outcome> {
  const { streamId, suffix, table, kind } = rows;
  const isOrphan = kind === "orphan";
  for (let done = 0;;) {
    const found = await selectRows(bench, rows);
    if (found.count === 0) {
      return { outcome: done === 0 ? "not_needed" : "done", rows: done };
    }
    const change: Change = {
      kind: "rows",
      streamId,
      suffix,
      table,
      isOrphan,
      rows: found.json,
    };
    const isDone = await carryOut(bench, streamId, {
      change,
      bound: [found.deletion],
      // Orphans have no stream, so there is no row to lock.
      withoutLock: isOrphan,
      wasDone: async (look) =>
        (await selectRows(bench, rows, look)).json !== found.json,
    });
    if (!isDone) return { outcome: "changed", rows: done };
    done += found.count;
  }
}

async function selectRows(
  { store }: Bench,
  { streamId, suffix, table, kind }: Rows,
  call: StreamCall = { name: operation, streamId },
): Promise<{ count: number; json: string; deletion: Bound }> {
  const { catalog, transactions } = store;
  const statements = rowStatements(table, kind);
  const [{ rows }] = await transactions.read(contextOf(call), [
    bind(catalog.at(suffix, statements.select), streamId),
  ]);
  return {
    count: rows.length,
    json: `[${rows.map(([, , json]) => json).join(",")}]`,
    deletion: bind(
      catalog.at(suffix, statements.delete),
      streamId,
      rows.map(([place]) => place),
      rows.map(([, version]) => version),
    ),
  };
}

async function writeMarker(
  bench: Bench,
  streamId: StreamId,
  given: Parameters<typeof bigintDetail>[0],
): Promise<Outcome> {
  const { catalog } = bench.store;
  const { suffix } = catalog.tablesOf(streamId);
  const generation = bigintDetail(given);
  if (generation === undefined) return { outcome: "changed", rows: 0 };
  const rows = {
    streamId,
    suffix,
    table: "minipools",
    kind: "marker",
  } as const;
  const markers = await selectRows(bench, rows);
  const isDone = await carryOut(bench, streamId, {
    change: {
      kind: "marker",
      streamId,
      suffix,
      generation: String(generation),
      rows: markers.json,
    },
    bound: [
      bind(catalog.at(suffix, checkOnlyMarkerWrong), streamId, generation),
      markers.deletion,
      bind(catalog.at(suffix, insertMarker), streamId, generation),
    ],
    wasDone: async (look) =>
      (await selectRows(bench, rows, look)).json !== markers.json,
  });
  return isDone
    ? { outcome: "done", rows: markers.count + 1 }
    : { outcome: "changed", rows: 0 };
}

async function movePointerTo(
  bench: Bench,
  streamId: StreamId,
  action: Extract<Repair["action"], { kind: "point_snapshot" }>,
): Promise<Outcome> {
  const { catalog, transactions } = bench.store;
  const { suffix } = catalog.tablesOf(streamId);
  const [from, to] = [bigintDetail(action.from), bigintDetail(action.to)];
  if (from === undefined || to === undefined) {
    return { outcome: "changed", rows: 0 };
  }
  const isGood = await needsNoOwnSnapshot(bench, streamId, to);
  const isDone = await carryOut(bench, streamId, {
    change: {
      kind: "pointer",
      streamId,
      suffix,
      from: String(from),
      to: String(to),
    },
    bound: [
      bind(catalog.at(suffix, movePointer), streamId, from, to, isGood),
    ],
    isDone: ([moved]) => moved!.count === 1,
    wasDone: async (look) => {
      const [{ rows: [row] }] = await transactions.read(contextOf(look), [
        bind(catalog.at(suffix, selectPointer), streamId),
      ]);
      return row?.[0] === to;
    },
  });
  return isDone
    ? { outcome: "done", rows: 1 }
    : { outcome: "changed", rows: 0 };
}

/** Whether a block has a snapshot inside its data or is a genesis. */
async function needsNoOwnSnapshot(
  { store }: Bench,
  streamId: StreamId,
  number: bigint,
): Promise<boolean> {
  if (number === 0n) return true;
  const [{ rows: [block] }] = await store.transactions.read(
    { name: operation },
    [bind(store.catalog.of(streamId, selectMiniblock), streamId, number)],
  );
  return block !== undefined && hasLegacySnapshot(block[0]);
}

/**
 * Notes a change in the undo file, then makes it. Returns whether it was made.
 */
async function carryOut(
  { store, undo }: Bench,
  streamId: StreamId,
  { change, bound, wasDone, withoutLock = false, isDone = () => true }: {
    change: Change;
    bound: readonly Bound[];
    /**
     * Whether an earlier attempt, whose answer was lost, has made the change.
     */
    wasDone: (look: StreamCall) => Promise<boolean>;
    withoutLock?: boolean;
    isDone?: (results: readonly Result[]) => boolean;
  },
): Promise<boolean> {
  await undo.begin(change);
  const done = await writeStream(store, { name: operation, streamId }, {
    bound,
    withoutLock,
    endsBeliefs: true,
    settle: (results) => results === undefined || isDone(results),
    refused: () => false,
    wasDone,
  });
  await undo.end(done);
  return done;
}
