/**
 * How every operation writes: in its stream's turn, behind the fence, under the
 * stream's lock, in one flush.
 */

import type { Rejection } from "../../database/rejection.ts";
import { bind, type Bound, type ResultsOf } from "../../database/statement.ts";
import {
  RejectedError,
  type TransactionContext,
} from "../../database/read_transactions.ts";
import { StreamStorageError } from "../../storage/errors.ts";
import type { StreamId } from "../../storage/stream_id.ts";
import { inContext } from "../../telemetry/operations.ts";
import { lockStream, lockStreamByUpdate } from "../sql/stream_locks.ts";
import type { Store, StreamCall, WriteStore } from "../store.ts";
import { streamChanged } from "../stream_changed.ts";
import type { SharedWrite } from "./queued_write.ts";

/**
 * A write under a stream's lock. Only its statements must be given. What is
 * left out has the meaning that most writes need.
 */
export interface StreamWrite<B extends readonly Bound[], T = void> {
  /** Payload bytes, for the bounds of the queue; none by default. */
  bytes?: number;
  /**
   * The statements behind the stream's lock, or a function that makes them. The
   * function is called in the stream's turn and may look at what is stored.
   */
  bound: B | (() => Promise<B>);
  /**
   * However the write ends, the store forgets what it believes of the stream,
   * not only the end of its minipool. It does so in the stream's turn, before
   * the stream's next write.
   */
  endsBeliefs?: boolean;
  /** Creating a stream locks nothing, because there is no row yet. */
  withoutLock?: boolean;
  /**
   * Reads the results once they are committed. `results` is undefined when the
   * answer was lost and `wasDone` has found the rows in place. By default, the
   * write settles with nothing.
   */
  settle?(results: ResultsOf<B> | undefined): T | Promise<T>;
  /**
   * The error that is thrown because a check has refused the write, or what the
   * write settles with all the same. By default, the error is that another
   * writer has changed the stream since `bound` looked at it.
   */
  refused?(
    rejection: Rejection,
  ): StreamStorageError | T | Promise<StreamStorageError | T>;
  /**
   * Whether the rows are those that this write leaves. Called after an attempt
   * has lost its answer and can no longer commit; no other write of the stream
   * has run since, so the look is final. All reads of the look use the call
   * given here. Absent if doing the write twice has the same effect as once.
   */
  wasDone?(look: StreamCall): Promise<boolean>;
  /**
   * The write as one statement, which can share a transaction with others. If
   * the statement changes nothing, the write runs alone, which finds the reason
   * or does what a single statement cannot.
   */
  shared?: Pick<SharedWrite, "bind" | "done">;
}

/** Writes up to this size share transactions; larger ones would not gain. */
const maxSharedBytes = 64 * 1024;

/** Runs a write in its stream's turn, under its lock. */
export function writeStream<const B extends readonly Bound[], T>(
  store: Store,
  call: StreamCall,
  write: StreamWrite<B, T>,
): Promise<T> {
  const run = (isInDoubt: boolean) => runAlone(store, call, write, isInDoubt);
  const { bytes = 0 } = write;
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
        ...shared,
        explain: () => run(false),
        isSingle: true,
      },
    }),
  });
}

/**
 * Runs a write in a transaction of its own. The caller makes sure that it is
 * the stream's turn. `isInDoubt`: an earlier attempt at the write has lost its
 * answer.
 */
export async function runAlone<const B extends readonly Bound[], T>(
  store: WriteStore,
  call: StreamCall,
  write: StreamWrite<B, T>,
  isInDoubt: boolean,
): Promise<T> {
  const { name, streamId, deadline } = call;
  const { fence } = store;
  store.cache.minipools.forget(streamId);
  const lock = write.withoutLock ? [] : [lockOf(store, streamId)];
  let bound: readonly Bound[] = [];
  const context = {
    name,
    tags: streamId,
    deadline,
    isInDoubt,
    wasDone: write.wasDone && (() => write.wasDone!(looking(call))),
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
    return await write.settle?.(own as ResultsOf<B> | undefined) as T;
  } catch (error) {
    if (!(error instanceof RejectedError)) throw error;
    const outcome = await outcomeOf(write, call, error.rejection);
    if (outcome instanceof StreamStorageError) throw outcome;
    return outcome;
  } finally {
    if (write.endsBeliefs) store.cache.forget(streamId);
  }
}

/** What a refused write ends with; see {@linkcode StreamWrite.refused}. */
export function outcomeOf<T>(
  write: StreamWrite<readonly Bound[], T>,
  { streamId }: StreamCall,
  rejection: Rejection,
): StreamStorageError | T | Promise<StreamStorageError | T> {
  return write.refused === undefined
    ? streamChanged(streamId)
    : write.refused(rejection);
}

/**
 * The call for looking what became of its write. No signal stops it, and it
 * asks the server that takes the writes.
 */
function looking({ name, streamId, deadline }: StreamCall): StreamCall {
  return {
    name,
    streamId,
    isFenced: true,
    ...(deadline === undefined ? {} : { deadline }),
  };
}

/**
 * Writes rows of our own tables that need no stream's lock. The statements must
 * have the same effect when they are done twice.
 */
export async function writeOwnRows<const B extends readonly Bound[]>(
  store: WriteStore,
  context: TransactionContext,
  bound: B,
): Promise<ResultsOf<B>> {
  const { fence } = store;
  const results = await store.transactions.write(
    context,
    () => [fence.statement, ...bound],
  );
  // Results are missing only where `wasDone` has found the rows.
  return results!.slice(1) as ResultsOf<B>;
}

/** The statement that makes this transaction the stream's only writer. */
export function lockOf(
  { catalog, isolationLevel }: WriteStore,
  streamId: StreamId,
): Bound {
  const template = isolationLevel === "read committed"
    ? lockStream
    : lockStreamByUpdate;
  return bind(catalog.of(streamId, template), streamId);
}
