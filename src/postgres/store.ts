/**
 * What every operation works with, and the one way in which operations write.
 */

import { notOwnerReason } from "../database/fence.ts";
import { type Ownership, ownershipLost } from "../database/ownership.ts";
import type { Rejection } from "../database/rejection.ts";
import { bind, type Bound, type ResultsOf } from "../database/statement.ts";
import {
  RejectedError,
  type TransactionContext,
  type Transactions,
} from "../database/transactions.ts";
import type { StreamId } from "../storage/stream_id.ts";
import { type CallContext, inContext } from "../telemetry/operations.ts";
import type { Catalog } from "./catalog.ts";
import type { KnownMinipools, MinipoolEnd } from "./known_minipools.ts";
import type { LegacySnapshots } from "./legacy_snapshots.ts";
import type { Quotas } from "./quotas.ts";
import type { Media } from "./media.ts";
import { type BoundWrite, countOf } from "./queued_write.ts";
import { claimStream, lockStream } from "./sql/streams.ts";
import type { WriteQueue } from "./write_queue.ts";

/** PostgreSQL's isolation levels that a store can run at. */
export type IsolationLevel =
  | "read committed"
  | "repeatable read"
  | "serializable";

/** What the operations share. */
export interface Store {
  readonly catalog: Catalog;
  readonly transactions: Transactions;
  readonly writes: WriteQueue;
  readonly legacySnapshots: LegacySnapshots;
  /** What is known may be forgotten at any time, what is doubted never. */
  readonly knownMinipools: KnownMinipools;
  readonly isolationLevel: IsolationLevel;
  readonly ownership: Ownership;
  /** Undefined: no limits. */
  readonly quotas?: Quotas | undefined;
  /** Object storage for media streams, if it is configured. */
  readonly media?: Media | undefined;
  /** Its writes are nobody's call: they keep out of the callers' way. */
  readonly background?: boolean;
  /** To be called after commit when a stream that was there has a new one. */
  readonly snapshotWritten?: (streamId: StreamId) => void;
}

/** A call on one stream. */
export interface StreamCall {
  /** The operation's name, for errors and metrics. */
  name: string;
  streamId: StreamId;
  signal?: AbortSignal | undefined;
  /** When it was made, in the time of `performance.now()`. */
  since?: number;
  /** Its deadline, in the time of `performance.now()`. */
  latest?: number;
  /** For its spans: the queue runs it in the context of another call. */
  context?: CallContext | undefined;
  /** An attempt to write lost its answer. */
  afterUnknown?: boolean;
}

/** A write under a stream's lock. */
export interface StreamWrite<B extends readonly Bound[], T> {
  /** Size of its payload. */
  bytes: number;
  /**
   * The statements, sent behind the stream's lock. They must refuse to be
   * done twice, see transactions.ts. A function is called in the stream's
   * turn and can look at what is stored.
   */
  bound: B | (() => Promise<B>);
  /** Creating a stream locks nothing: the row is not there yet. */
  withoutLock?: boolean;
  /**
   * Reads the results once they are committed. With `afterUnknown` an earlier
   * attempt may have been committed, and these are the results of doing it
   * again.
   */
  settle(results: ResultsOf<B>, afterUnknown: boolean): T | Promise<T>;
  /**
   * A check refused: throws the error that the contract has for it. With
   * `afterUnknown` an earlier attempt may have been committed; if the rows are
   * those of this very write, it returns as if this one had been.
   */
  refused?(rejection: Rejection, afterUnknown: boolean): T | Promise<T>;
  /**
   * The same as one statement, to share a transaction with other writes; made
   * in the stream's turn, with what is known of its minipool then. It counts 1
   * (`countOf`) when it was done; else the write is run alone, which finds the
   * reason or does what a single statement can't.
   */
  shared?: (known: MinipoolEnd | undefined) => BoundWrite;
  /** Hears the row of that statement once it was done and committed. */
  sharedRow?(row: readonly unknown[]): void;
}

/** Writes up to this size share transactions; larger ones gain nothing. */
const maxSharedBytes = 64 * 1024;

/** Runs a write in its stream's turn, under its lock. */
export function writeStream<const B extends readonly Bound[], T>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B, T>,
): Promise<T> {
  const run = (afterUnknown: boolean) =>
    runAlone(store, call, write, afterUnknown);
  const { bytes } = write;
  const { background = false } = store;
  const shared = background ? undefined : write.shared;
  return store.writes.submit({
    streamId: call.streamId,
    bytes,
    since: call.since,
    background,
    signal: call.signal,
    runAlone: run,
    ...(shared === undefined || bytes > maxSharedBytes ? {} : {
      shared: {
        bind: shared,
        isDone: (result) => {
          if (countOf(result) !== 1) return false;
          write.sharedRow?.(result.rows[0]!);
          return true;
        },
        explain: (_, unknown) => run(unknown),
        isSingle: true,
      },
    }),
  });
}

/** Runs a write as a transaction of its own; its turn is the caller's care. */
export async function runAlone<const B extends readonly Bound[], T>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B, T>,
  afterUnknown: boolean,
): Promise<T> {
  const { name, streamId, latest } = call;
  const context = { name, tags: streamId, afterUnknown, latest };
  const { knownMinipools } = store;
  knownMinipools.forget(streamId);
  const endsDoubt = !write.withoutLock && knownMinipools.isDoubted(streamId);
  const locks = [
    store.ownership.fence,
    ...(write.withoutLock ? [] : [lockOf(store, streamId)]),
  ];
  try {
    const bound = typeof write.bound === "function"
      ? await write.bound()
      : write.bound;
    const all = [...locks, ...bound];
    const committed = await inContext(
      call.context,
      () => store.transactions.write(context, all),
    );
    if (endsDoubt) knownMinipools.settleDoubt(streamId);
    return await write.settle(
      committed.results.slice(locks.length) as ResultsOf<B>,
      committed.afterUnknown,
    );
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    checkFence(store, error);
    if (!write.refused) throw error;
    return await write.refused(error.rejection, error.afterUnknown);
  }
}

/**
 * Writes rows of our own tables that need no stream's lock. Done twice it must
 * be as if done once.
 */
export async function writeOwnRows<const B extends readonly Bound[]>(
  store: Store,
  context: TransactionContext,
  bound: B,
): Promise<ResultsOf<B>> {
  try {
    const all = [store.ownership.fence, ...bound];
    const { results } = await store.transactions.write(context, all);
    return results.slice(1) as ResultsOf<B>;
  } catch (error) {
    if (error instanceof RejectedError) checkFence(store, error);
    throw error;
  }
}

/** Another instance owns the schema: this one is over. */
function checkFence(store: Store, error: RejectedError): void {
  if (error.rejection.reason !== notOwnerReason) return;
  store.ownership.stop();
  throw ownershipLost(error.afterUnknown ? "unknown" : "rolled_back");
}

/** The statement that makes this transaction the stream's only writer. */
export function lockOf(store: Store, streamId: StreamId): Bound {
  const { isolationLevel, knownMinipools } = store;
  const isLockEnough = isolationLevel === "read committed" &&
    !knownMinipools.isDoubted(streamId);
  const template = isLockEnough ? lockStream : claimStream;
  return bind(store.catalog.of(streamId, template), streamId);
}
