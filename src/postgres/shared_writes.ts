/**
 * A load of the write queue as one transaction: the fence, the locks of its
 * streams, then a statement for each write.
 */

import { verdictOf } from "../database/failures.ts";
import { rejectionOf } from "../database/rejection.ts";
import { bind, type Bound, type Result } from "../database/statement.ts";
import type { TransactionContext } from "../database/transactions.ts";
import type { StreamId } from "../storage/stream_id.ts";
import type { Catalog } from "./catalog.ts";
import type { KnownMinipool, KnownRow } from "./known_minipools.ts";
import { type BoundWrite, countOf, type LoadedWrite } from "./queued_write.ts";
import {
  claimStreams,
  lockStreams,
  lockStreamsTelling,
  lockUntouchedStream,
  lockUntouchedStreams,
  touchedReason,
} from "./sql/streams.ts";
import { lockOf, type Store } from "./store.ts";

/** The writes with their statements, and their streams by how they are locked. */
interface Load {
  bound: BoundWrite[];
  /** To what is known, and will be when the load is done. */
  trusted: Map<StreamId, KnownMinipool>;
  /** Their minipools are known when the load is done. */
  learned: Set<StreamId>;
  others: Set<StreamId>;
}

/** Runs the writes once; the driver's errors come as they are. */
export async function runShared(
  store: Store,
  context: TransactionContext,
  writes: readonly LoadedWrite[],
): Promise<readonly Result[]> {
  try {
    return await runLoad(store, context, writes);
  } catch (error) {
    if (rejectionOf(error)?.reason !== touchedReason) throw error;
  }
  // Nothing was done, and now nothing is taken as known.
  return await runLoad(store, context, writes);
}

async function runLoad(
  store: Store,
  context: TransactionContext,
  writes: readonly LoadedWrite[],
): Promise<readonly Result[]> {
  const load = loadOf(store, writes);
  const locks = locksOf(store, load);
  try {
    const [, ...results] = await store.transactions.attemptShared(context, [
      store.ownership.fence,
      ...locks,
      ...load.bound.map(({ bound }) => bound),
    ]);
    const done = results.slice(locks.length);
    learn(store, writes, load, { rows: rowsOf(load, results), done });
    return done;
  } catch (error) {
    const { knownMinipools } = store;
    const isUnknown = verdictOf(error, "write") === "unknown";
    for (const { streamId } of writes) {
      knownMinipools.forget(streamId);
      if (isUnknown) knownMinipools.doubt(streamId);
    }
    throw error;
  }
}

function loadOf(store: Store, writes: readonly LoadedWrite[]): Load {
  // Higher levels see the row as it was when they began.
  const trusts = store.isolationLevel === "read committed";
  const trusted: Load["trusted"] = new Map();
  const learned: Load["learned"] = new Set();
  const others: Load["others"] = new Set();
  const bound = writes.map(({ streamId, shared }) => {
    const known = trusted.get(streamId) ??
      (trusts ? store.knownMinipools.get(streamId) : undefined);
    const write = shared.bind(known);
    const { end, isBlind } = write;
    if (!trusts || end === undefined) others.add(streamId);
    else if (isBlind) trusted.set(streamId, { ...known!, ...end });
    else learned.add(streamId);
    return write;
  });
  return { bound, trusted, learned, others };
}

/** Each stream once; the trusted ones first, then those to learn about. */
function locksOf(store: Store, { trusted, learned, others }: Load): Bound[] {
  const { catalog, isolationLevel } = store;
  const locks: Bound[] = [];
  if (trusted.size > 0) locks.push(trustingLock(catalog, trusted));
  if (learned.size > 0) {
    locks.push(bind(catalog.at("", lockStreamsTelling), [...learned]));
  }
  if (others.size === 1) {
    const [streamId] = others;
    locks.push(lockOf(store, streamId!));
  } else if (others.size > 1) {
    const lock = isolationLevel === "read committed"
      ? lockStreams
      : claimStreams;
    locks.push(bind(catalog.at("", lock), [...others]));
  }
  return locks;
}

function trustingLock(catalog: Catalog, trusted: Load["trusted"]): Bound {
  const rows = [...trusted].sort(([, a], [, b]) => a.at - b.at);
  if (rows.length === 1) {
    const [[streamId, { at, lockedBy }]] = rows as [typeof rows[0]];
    return bind(catalog.at("", lockUntouchedStream), at, streamId, lockedBy);
  }
  const lockers = rows.map(([, { lockedBy }]) => lockedBy);
  return bind(
    catalog.at("", lockUntouchedStreams),
    rows.map(([, { at }]) => at),
    rows.map(([streamId]) => streamId),
    lockers,
    [...new Set(lockers)],
  );
}

/**
 * The rows of the trusted and the learned ones, as they are now by the results
 * of {@linkcode locksOf}: locked by this transaction, if they are there.
 */
function rowsOf(
  { trusted, learned }: Load,
  [first, second]: readonly Result[],
): Map<StreamId, KnownRow> {
  const rows = new Map<StreamId, KnownRow>();
  if (trusted.size > 0) {
    const [[, lockedBy]] = first!.rows as unknown as [[unused: null, bigint]];
    for (const [streamId, { at }] of trusted) {
      rows.set(streamId, { lockedBy, at });
    }
  }
  if (learned.size > 0) {
    const told = (trusted.size > 0 ? second! : first!).rows;
    for (
      const [streamId, at, lockedBy] of told as unknown as [
        StreamId,
        number,
        bigint,
      ][]
    ) rows.set(streamId, { lockedBy, at });
  }
  return rows;
}

/** Every write has locked its stream, so what was known before is over. */
function learn(
  { knownMinipools }: Store,
  writes: readonly LoadedWrite[],
  { bound }: Load,
  { rows, done }: {
    rows: ReadonlyMap<StreamId, KnownRow>;
    done: readonly Result[];
  },
): void {
  for (const [i, { streamId }] of writes.entries()) {
    const { end } = bound[i]!;
    const row = rows.get(streamId);
    const isDone = countOf(done[i]!) === 1;
    if (end === undefined || row === undefined || !isDone) {
      knownMinipools.forget(streamId);
    } else {
      const { generation, next } = end;
      const { lockedBy, at } = row;
      knownMinipools.learn(streamId, { generation, next, lockedBy, at });
    }
  }
}
