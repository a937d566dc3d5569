/**
 * Runs transactions: one flush each (session.ts), tried again where that is
 * safe and useful.
 *
 * What may be tried again is decided by the error (failures.ts). A write whose
 * answer was lost is tried again too, which asks one thing of every write here:
 * its own checks must refuse it when it has been done already, so that it can
 * never be done twice. A refusal at a later attempt then says either that the
 * first attempt was committed or that the write was never possible; the
 * rejection tells its operation so (`afterUnknown`), which looks at the rows.
 *
 * One deadline holds over all attempts, the wait for a connection included.
 * The server is told what is left of it as statement_timeout (session.ts), so
 * that it ends what we wait for no longer; only if nothing at all is heard from
 * it, an attempt outlives the deadline, by a second.
 */

import pRetry from "p-retry";
import type { StreamStorageError } from "../storage/errors.ts";
import type {
  TransactionMetrics,
  TransactionOutcome,
} from "../telemetry/transaction_metrics.ts";
import { sqlStateOf, toStorageError, verdictOf } from "./failures.ts";
import type { Pool, PoolUse } from "./pool.ts";
import { type Rejection, rejectionOf } from "./rejection.ts";
import type { Bound, ResultsOf } from "./statement.ts";
import type { TransactionRing } from "./transaction_ring.ts";

/** How often and how fast a transaction is tried again. */
export interface RetryOptions {
  /** Attempts in all, the first included. */
  attempts: number;
  minDelayMs: number;
  maxDelayMs: number;
}

/** A check in the transaction stopped it; nothing was written. */
export class RejectedError extends Error {
  override readonly name = "RejectedError";
  readonly rejection: Rejection;
  /** An earlier attempt's answer was lost: it may have been committed. */
  readonly afterUnknown: boolean;

  constructor(rejection: Rejection, afterUnknown: boolean) {
    super(rejection.reason);
    this.rejection = rejection;
    this.afterUnknown = afterUnknown;
  }
}

/** The results of a transaction, and how it came to them. */
export interface Committed<B extends readonly Bound[]> {
  results: ResultsOf<B>;
  /** An earlier attempt's answer was lost: it may have been committed. */
  afterUnknown: boolean;
}

/** What a transaction is called and how it may be stopped. */
export interface TransactionContext {
  /** For metrics and the ring, for example `writeMiniblocks`. */
  name: string;
  /** What it is about, for the ring. */
  tags?: string;
  signal?: AbortSignal | undefined;
  /** An earlier run of the same work lost its answer. */
  afterUnknown?: boolean;
  /**
   * The deadline, in the time of `performance.now()`. Default: the operation
   * timeout from now on.
   */
  latest?: number | undefined;
}

/** What a {@linkcode Transactions} is made of. */
export interface TransactionsOptions {
  readPool: Pool;
  writePool: Pool;
  retry: RetryOptions;
  operationTimeoutMs: number;
  ring: TransactionRing;
  /** Hears how transactions go. */
  metrics?: TransactionMetrics;
}

/** Runs transactions on the pools; see the file's head. */
export class Transactions {
  readonly #options: TransactionsOptions;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /**
   * Reads by one flush, tried again as needed.
   *
   * @throws {StreamStorageError}
   */
  async read<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
  ): Promise<ResultsOf<B>> {
    const { results } = await this.#run("read", context, bound);
    return results;
  }

  /**
   * Writes by one flush, tried again as needed; see the file's head for what
   * it asks of the statements.
   *
   * @throws {RejectedError} a check of the statements refused.
   * @throws {StreamStorageError}
   */
  write<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
  ): Promise<Committed<B>> {
    return this.#run("write", context, bound);
  }

  /**
   * Writes of many streams by one flush, once; the driver's errors come as they
   * are.
   */
  async attemptShared<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
  ): Promise<ResultsOf<B>> {
    const { operationTimeoutMs, metrics } = this.#options;
    const { name } = context;
    const since = performance.now();
    const latest = context.latest ?? since + operationTimeoutMs;
    const ended = (outcome: TransactionOutcome) =>
      metrics?.ended({ name, mode: "write", outcome, since });
    try {
      const results = await this.#attempt("shared", context, bound, latest);
      ended("committed");
      return results;
    } catch (error) {
      if (rejectionOf(error)) ended("rejected");
      else if (verdictOf(error, "write") === "unknown") ended("unknown");
      else ended("rolled_back");
      throw error;
    }
  }

  async #run<const B extends readonly Bound[]>(
    mode: "read" | "write",
    context: TransactionContext,
    bound: B,
  ): Promise<Committed<B>> {
    const { retry, operationTimeoutMs, ring, metrics } = this.#options;
    const { name } = context;
    let afterUnknown = context.afterUnknown ?? false;
    let failure: unknown;
    const now = performance.now();
    const latest = context.latest ?? now + operationTimeoutMs;
    const attempt = async (nth: number): Promise<Committed<B>> => {
      if (nth > 1) {
        ring.record(name, context.tags ?? "", "retry");
        metrics?.retried(name, nth, sqlStateOf(failure) ?? "connection_lost");
      }
      try {
        context.signal?.throwIfAborted();
        const results = await this.#attempt(mode, context, bound, latest);
        return { results, afterUnknown };
      } catch (error) {
        const rejection = rejectionOf(error);
        if (rejection) throw new RejectedError(rejection, afterUnknown);
        if (verdictOf(error, mode) === "unknown") afterUnknown = true;
        failure = error;
        throw error;
      }
    };
    const { signal } = context;
    try {
      const committed = await withRetries(attempt, {
        ...retry,
        latest,
        signal,
        mode,
      });
      metrics?.ended({ name, mode, outcome: "committed", since: now });
      return committed;
    } catch (error) {
      if (error instanceof RejectedError) {
        metrics?.ended({ name, mode, outcome: "rejected", since: now });
        throw error;
      }
      const told = toStorageError(error, {
        unknownOutcome: afterUnknown,
        signal,
      });
      const outcome = outcomeOf(told);
      metrics?.ended({ name, mode, outcome, since: now, error: told });
      throw told;
    }
  }

  async #attempt<const B extends readonly Bound[]>(
    use: PoolUse,
    context: TransactionContext,
    bound: B,
    latest: number,
  ): Promise<ResultsOf<B>> {
    const { readPool, writePool, ring, metrics } = this.#options;
    const tags = context.tags ?? "";
    metrics?.attempted(context.name);
    ring.record(context.name, tags, "begin");
    try {
      const pool = use === "read" ? readPool : writePool;
      const results = await pool.run(bound, use, context.signal, latest);
      ring.record(context.name, tags, "commit");
      return results;
    } catch (error) {
      const mode = use === "read" ? "read" : "write";
      const unknown = verdictOf(error, mode) === "unknown";
      ring.record(context.name, tags, unknown ? "unknown" : "rollback");
      throw error;
    }
  }
}

/** What retrying takes is set up after a failure; few transactions see one. */
async function withRetries<T>(
  attempt: (nth: number) => Promise<T>,
  { attempts, minDelayMs, maxDelayMs, latest, signal, mode }: RetryOptions & {
    latest: number;
    signal: AbortSignal | undefined;
    mode: "read" | "write";
  },
): Promise<T> {
  const first = attempt(1);
  try {
    return await first;
  } catch (error) {
    if (error instanceof RejectedError) throw error;
  }
  return await pRetry((nth) => nth === 1 ? first : attempt(nth), {
    retries: attempts - 1,
    minTimeout: minDelayMs,
    maxTimeout: maxDelayMs,
    randomize: true,
    maxRetryTime: Math.max(0, latest - performance.now()),
    shouldRetry: ({ error }) => verdictOf(error, mode) !== "final",
    ...(signal === undefined ? {} : { signal }),
  });
}

function outcomeOf(error: StreamStorageError): TransactionOutcome {
  if (error.outcome === "unknown") return "unknown";
  return error.code === "CANCELED" ? "canceled" : "rolled_back";
}
