/**
 * The one way in which operations write: in the stream's turn, behind the fence,
 * under the stream's lock, as one flush.
 */

import type { Rejection } from "../../database/rejection.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import {
  RejectedError,
  type TransactionContext,
} from "../../database/read_transactions.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { inContext } from "../../telemetry/operations.ts";
import { lockStream, lockStreamByUpdate } from "../sql/stream_locks.ts";
import type { BatchStore, Store, StreamCall } from "../store.ts";
import type { MinipoolEnd } from "./minipool_cache.ts";
import { type BoundWrite, countOf } from "./queued_write.ts";

/** A write under a stream's lock. */
export interface StreamWrite<B extends readonly Bound[], T> {
  /** Size of its payload. */
  bytes: number;
  /**
   * The statements, sent behind the stream's lock. A function is called in the
   * stream's turn and can look at what is stored.
   */
  bound: B | (() => Promise<B>);
  /**
   * What is believed of the stream beyond its minipool ends with this write,
   * however it ends: in the stream's turn, so before the next write of it.
   */
  endsBeliefs?: boolean;
  /** Creating a stream locks nothing: the row is not there yet. */
  withoutLock?: boolean;
  /**
   * Reads the results once they are committed; undefined when an attempt whose
   * answer was lost turned out to have done the write.
   */
  settle(results: ResultsOf<B> | undefined): T | Promise<T>;
  /** A check refused: throws the error that the contract has for it. */
  refused?(rejection: Rejection): T | Promise<T>;
  /**
   * An attempt has lost its answer, and nothing of it can come any more: whether
   * the rows are those that this write leaves. No other write of the stream can
   * have come between. Absent: done twice, the write is as if done once.
   */
  wasDone?: () => Promise<boolean>;
  /**
   * The same as one statement, to share a transaction with other writes; made
   * in the stream's turn, with what is cached of its minipool then. It counts 1
   * (`countOf`) when it was done; else the write is run alone, which finds the
   * reason or does what a single statement can't.
   */
  shared?: (cached: MinipoolEnd | undefined) => BoundWrite;
  /** Gets the row of that statement once it was done and committed. */
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
  const run = (isInDoubt: boolean) => runAlone(store, call, write, isInDoubt);
  const { bytes } = write;
  const { background = false } = store;
  const shared = background ? undefined : write.shared;
  return store.writes.submit({
    streamId: call.streamId,
    bytes,
    submittedAt: call.submittedAt,
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
        explain: () => run(false),
        isSingle: true,
      },
    }),
  });
}

/**
 * Runs a write as a transaction of its own; its turn is the caller's care.
 * `isInDoubt`: an earlier attempt at it has lost its answer.
 */
export async function runAlone<const B extends readonly Bound[], T>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B, T>,
  isInDoubt: boolean,
): Promise<T> {
  const { name, streamId, deadline } = call;
  const { fence } = store.ownership;
  store.cache.minipools.forget(streamId);
  const lock = write.withoutLock ? [] : [lockOf(store, streamId)];
  let bound: readonly Bound[] = [];
  const context = {
    name,
    tags: streamId,
    deadline,
    isInDoubt,
    wasDone: write.wasDone,
    prepare: async () => {
      bound = typeof write.bound === "function"
        ? await write.bound()
        : write.bound;
    },
  };
  try {
    const results = await inContext(
      call.context,
      () =>
        store.transactions.write(
          context,
          () => [fence.statement, ...lock, ...bound],
        ),
    );
    const own = results?.slice(1 + lock.length);
    return await write.settle(own as ResultsOf<B> | undefined);
  } catch (error) {
    if (!(error instanceof RejectedError) || !write.refused) throw error;
    return await write.refused(error.rejection);
  } finally {
    if (write.endsBeliefs) store.cache.forget(streamId);
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
  const { fence } = store.ownership;
  const results = await store.transactions.write(
    context,
    () => [fence.statement, ...bound],
  );
  // Without a look, every write ends with results of its own.
  return results!.slice(1) as ResultsOf<B>;
}

/** The statement that makes this transaction the stream's only writer. */
export function lockOf(
  { catalog, isolationLevel }: BatchStore,
  streamId: StreamId,
): Bound {
  const template = isolationLevel === "read committed"
    ? lockStream
    : lockStreamByUpdate;
  return bind(catalog.of(streamId, template), streamId);
}
