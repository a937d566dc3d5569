/**
 * Runs a batch of the write queue as one transaction: the fence, the locks of
 * the batch's streams, then a statement for each write.
 *
 * Each stream is locked in one of three ways ({@linkcode StreamLock}). One
 * statement locks all streams of a kind.
 */

import { movedReason } from "../../database/cluster/guard.ts";
import { rejectionOf } from "../../database/rejection.ts";
import { bind, type Bound, type Result } from "../../database/statement.ts";
import type { TransactionContext } from "../../database/read_transactions.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import {
  changedReason,
  lockStreams,
  lockStreamsByUpdate,
  lockStreamsLearning,
  lockUnchangedStream,
  lockUnchangedStreams,
  lockUnchangedStreamsOfMany,
} from "../sql/stream_locks.ts";
import type { WriteStore } from "../store.ts";
import type { CachedMinipool, MinipoolEnd } from "./minipool_cache.ts";
import { type BatchedWrite, countOf } from "./queued_write.ts";
import { lockOf } from "./stream_write.ts";

/** How a stream is locked, and what the cache knows afterwards. */
type StreamLock =
  /** Stops the transaction unless the minipool still ends as the cache says. */
  | { kind: "unchanged"; cached: CachedMinipool }
  /** The lock returns the row's place and locker, which the cache needs. */
  | { kind: "learning" }
  /** The cache forgets the stream. */
  | { kind: "plain" };

/** A stream of a batch. */
interface BatchStream<L extends StreamLock = StreamLock> {
  streamId: StreamId;
  lock: L;
  /** How the minipool ends if all writes are done; undefined if unknown. */
  end: MinipoolEnd | undefined;
  /** The stream's writes are those from `from` to below `to`. */
  from: number;
  to: number;
}

type LockedAs<K extends StreamLock["kind"]> = BatchStream<
  Extract<StreamLock, { kind: K }>
>;

/** A statement that precedes the writes, and what the cache learns from it. */
interface LockStatement {
  /** Called for each attempt: the fence in it must be the current one. */
  bind(): Bound;
  learn(result: Result, done: readonly Result[]): void;
}

/**
 * Runs the writes in one transaction, and throws the driver's errors unchanged.
 * If a stream has changed or the schema has moved, runs them a second time.
 */
export async function runBatch(
  store: WriteStore,
  context: TransactionContext,
  writes: readonly BatchedWrite[],
): Promise<readonly Result[]> {
  try {
    return await runOnce(store, context, writes);
  } catch (error) {
    const reason = rejectionOf(error)?.reason;
    if (reason !== changedReason && reason !== movedReason) throw error;
  }
  // The first transaction wrote nothing, and its streams are no longer cached.
  return await runOnce(store, context, writes);
}

async function runOnce(
  store: WriteStore,
  context: TransactionContext,
  writes: readonly BatchedWrite[],
): Promise<readonly Result[]> {
  const { streams, bound } = batchOf(store, writes);
  const locks = locksOf(store, streams);
  try {
    const results = await store.transactions.attemptShared(
      context,
      () => [...locks.map((lock) => lock.bind()), ...bound],
    );
    const done = results.slice(locks.length);
    for (const [i, lock] of locks.entries()) lock.learn(results[i]!, done);
    return done;
  } catch (error) {
    for (const { streamId } of streams) store.cache.minipools.forget(streamId);
    throw error;
  }
}

/** The streams of the batch, and a statement for each write. */
function batchOf(
  store: WriteStore,
  writes: readonly BatchedWrite[],
): { streams: BatchStream[]; bound: Bound[] } {
  const streams: BatchStream[] = [];
  const bound: Bound[] = [];
  while (bound.length < writes.length) {
    streams.push(streamAt(store, writes, bound));
  }
  return { streams, bound };
}

/** The stream of the next writes; adds their statements to `bound`. */
function streamAt(
  { isolationLevel, cache }: WriteStore,
  writes: readonly BatchedWrite[],
  bound: Bound[],
): BatchStream {
  const from = bound.length;
  const { streamId } = writes[from]!;
  // Above READ COMMITTED, a transaction sees the row as of its snapshot.
  const isCacheable = isolationLevel === "read committed";
  const cached = isCacheable ? cache.minipools.get(streamId) : undefined;
  let isUnchecked = false;
  // What the next write finds in the minipool. Unknown once a statement that
  // looks first precedes it, because that statement may change nothing.
  let known: MinipoolEnd | undefined = cached;
  let end: MinipoolEnd | undefined;
  let to = from;
  // The writes of a stream are next to each other.
  for (; to < writes.length && writes[to]!.streamId === streamId; to++) {
    const write = writes[to]!.shared.bind(known);
    bound.push(write.bound);
    end = isCacheable ? write.end : undefined;
    known = write.isUnchecked ? end : undefined;
    isUnchecked ||= write.isUnchecked === true;
  }
  const lock: StreamLock = isUnchecked
    ? { kind: "unchanged", cached: cached! }
    : { kind: end === undefined ? "plain" : "learning" };
  return { streamId, lock, end, from, to };
}

/**
 * The fence, alone or within the lock of the unchanged streams, and the locks
 * of the other streams.
 */
function locksOf(
  store: WriteStore,
  streams: readonly BatchStream[],
): LockStatement[] {
  const as = <K extends StreamLock["kind"]>(kind: K) =>
    streams.filter(({ lock }) => lock.kind === kind) as LockedAs<K>[];
  const [unchanged, learning, plain] = [
    as("unchanged"),
    as("learning"),
    as("plain"),
  ];
  return [
    unchanged.length > 0 ? unchangedLock(store, unchanged) : fenceAlone(store),
    ...(learning.length > 0 ? [learningLock(store, learning)] : []),
    ...(plain.length > 0 ? [plainLock(store, plain)] : []),
  ];
}

function fenceAlone({ fence }: WriteStore): LockStatement {
  return { bind: () => fence.statement, learn: () => {} };
}

function unchangedLock(
  store: WriteStore,
  streams: LockedAs<"unchanged">[],
): LockStatement {
  // The server reads rows in the order of their places, and the statement
  // compares them with its lists in that order.
  streams.sort((a, b) => a.lock.cached.at - b.lock.cached.at);
  return {
    bind: () => bindUnchanged(store, streams),
    learn: ({ rows: [row] }, done) => {
      const lockedBy = row![1] as bigint;
      for (const stream of streams) {
        const end = endOf(stream, done);
        if (end === undefined) store.cache.minipools.forget(stream.streamId);
        // Updated in place: a new entry would be made tens of thousands of
        // times a second.
        else Object.assign(stream.lock.cached, end, { lockedBy });
      }
    },
  };
}

function bindUnchanged(
  { catalog, fence: { owner } }: WriteStore,
  streams: readonly LockedAs<"unchanged">[],
): Bound {
  const { streamId, lock: { cached } } = streams[0]!;
  const { at, lockedBy } = cached;
  if (streams.length === 1) {
    const lock = catalog.at("", lockUnchangedStream);
    return bind(lock, at, streamId, lockedBy, ...owner);
  }
  const places = streams.map(({ lock }) => lock.cached.at);
  const ids = idsOf(streams);
  if (streams.every(({ lock }) => lock.cached.lockedBy === lockedBy)) {
    const lock = catalog.at("", lockUnchangedStreams);
    return bind(lock, places, ids, lockedBy, ...owner);
  }
  const lockers = streams.map(({ lock }) => lock.cached.lockedBy);
  const lock = catalog.at("", lockUnchangedStreamsOfMany);
  return bind(lock, places, ids, lockers, [...new Set(lockers)], ...owner);
}

function learningLock(
  { catalog, cache: { minipools } }: WriteStore,
  streams: readonly LockedAs<"learning">[],
): LockStatement {
  const lock = bind(catalog.at("", lockStreamsLearning), idsOf(streams));
  let { era } = minipools;
  return {
    bind: () => {
      ({ era } = minipools);
      return lock;
    },
    learn: ({ rows }, done) => {
      const rowByStream = new Map(
        (rows as unknown as [StreamId, number, bigint][])
          .map(([id, at, lockedBy]) => [id, { at, lockedBy }]),
      );
      for (const stream of streams) {
        const { streamId } = stream;
        const end = endOf(stream, done);
        const row = rowByStream.get(streamId);
        if (end === undefined || row === undefined) minipools.forget(streamId);
        else minipools.learn(streamId, { ...end, ...row }, era);
      }
    },
  };
}

function plainLock(
  store: WriteStore,
  streams: readonly LockedAs<"plain">[],
): LockStatement {
  const { catalog, isolationLevel, cache } = store;
  const lockMany = isolationLevel === "read committed"
    ? lockStreams
    : lockStreamsByUpdate;
  const lock = streams.length === 1
    ? lockOf(store, streams[0]!.streamId)
    : bind(catalog.at("", lockMany), idsOf(streams));
  return {
    bind: () => lock,
    // The write has locked the stream, so the cached locker is out of date.
    learn: () => {
      for (const { streamId } of streams) cache.minipools.forget(streamId);
    },
  };
}

function idsOf(streams: readonly BatchStream[]): StreamId[] {
  return streams.map(({ streamId }) => streamId);
}

/** How the stream's minipool ends, unless one of its writes was not done. */
function endOf(
  { end, from, to }: BatchStream,
  done: readonly Result[],
): MinipoolEnd | undefined {
  for (let i = from; i < to; i++) if (countOf(done[i]!) !== 1) return undefined;
  return end;
}
