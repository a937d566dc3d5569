/**
 * Runs a store's transactions: one flush each (session.ts), retried where that
 * is safe and useful. read_transactions.ts runs the reads.
 *
 * The error decides whether work may be retried (failures.ts). There are three
 * cases:
 *
 * 1. Nothing was committed, and the same work may succeed now: it is sent
 *    again.
 * 2. The fence stopped a write only because its epoch has risen (fence.ts):
 *    nothing was committed, so it is sent again at once, with the new epoch.
 *    This is no failure and does not count as an attempt.
 * 3. The answer to a write was lost. The epoch is raised first, which makes the
 *    lost attempt final: it has committed or never will. Then one look at the
 *    rows (`wasDone`) shows which. A write that was not done is sent again as
 *    if for the first time.
 *
 * The look uses the pool for writes and passes the fence, so it finds what this
 * owner has left. An outcome stays unknown only if the database can't be
 * reached before the deadline, or if ownership is lost meanwhile.
 */

import type { TransactionOutcome } from "../telemetry/transaction_metrics.ts";
import { verdictOf } from "./failures.ts";
import { type Fence, notOwnerReason, type RunFlush } from "./fence.ts";
import type { Pool, PoolUse } from "./pool.ts";
import {
  ReadTransactions,
  type ReadTransactionsOptions,
  type TransactionContext,
} from "./read_transactions.ts";
import { rejectionOf } from "./rejection.ts";
import type { Bound, ResultsOf } from "./statement.ts";

/** A write that may be retried after its answer was lost. */
export interface WriteContext extends TransactionContext {
  /** Whether an earlier run of the same write has lost its answer. */
  isInDoubt?: boolean;
  /**
   * Looks whether the rows show that the write was done. Called only when no
   * part of the write can still commit, so the result is final. Default: the
   * write is sent again, and doing it twice has the effect of doing it once.
   */
  wasDone?: (() => Promise<boolean>) | undefined;
  /** Called once, before anything is sent, when it certainly must be sent. */
  prepare?: () => Promise<void>;
}

/**
 * Composes a flush. Called for every attempt, because the flush must contain
 * the present fence.
 */
export type Compose<B extends readonly Bound[]> = () => B;

/** What a {@linkcode Transactions} is made of. */
export interface TransactionsOptions extends ReadTransactionsOptions {
  writePool: Pool;
  fence: Fence;
  /** Raises the epoch. Callers wait for it, so it must not be a worker's. */
  fencePool: Pool;
}

/** Runs transactions on the pools; see the head of this file. */
export class Transactions extends ReadTransactions {
  readonly #options: TransactionsOptions;

  constructor(options: TransactionsOptions) {
    super(options);
    this.#options = options;
  }

  /** Reads only what nothing sent earlier can still change. */
  protected override async attemptRead<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    if (context.isFenced) return await this.#look(context, bound, deadline);
    const { fence } = this.#options;
    if (fence.isInDoubt) await fence.renewSoon(this.#raise);
    return await super.attemptRead(context, bound, deadline);
  }

  async #look<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    const { fence } = this.#options;
    const compose = () => [fence.statement, ...bound];
    const results = await this.#attemptFenced(
      "write",
      context,
      compose,
      deadline,
    );
    return results.slice(1) as ResultsOf<B>;
  }

  /**
   * Writes with one flush, retried as needed. The results are undefined if an
   * attempt whose answer was lost has done the write.
   *
   * @throws {RejectedError} a check in the statements refused.
   * @throws {StreamStorageError}
   */
  write<const B extends readonly Bound[]>(
    context: WriteContext,
    compose: Compose<B>,
  ): Promise<ResultsOf<B> | undefined> {
    let { isInDoubt = false, prepare } = context;
    return this.runRetried(
      { mode: "write", context, isInDoubt: () => isInDoubt },
      async (deadline) => {
        // Other lost writes matter, too: `prepare` relies on what it looks up.
        await this.#whenCertain(deadline);
        if (isInDoubt && await context.wasDone?.()) return undefined;
        isInDoubt = false;
        await prepare?.();
        prepare = undefined;
        try {
          return await this.#attemptFenced("write", context, compose, deadline);
        } catch (error) {
          isInDoubt = verdictOf(error, "write") === "unknown";
          throw error;
        }
      },
    );
  }

  /**
   * Writes many streams with one flush, once; throws the driver's errors
   * unchanged.
   */
  async attemptShared<const B extends readonly Bound[]>(
    context: TransactionContext,
    compose: Compose<B>,
  ): Promise<ResultsOf<B>> {
    const { operationTimeoutMs, metrics } = this.#options;
    const { name } = context;
    const since = performance.now();
    const deadline = context.deadline ?? since + operationTimeoutMs;
    const ended = (outcome: TransactionOutcome) =>
      metrics?.ended({ name, mode: "write", outcome, since });
    try {
      const results = await this.#attemptFenced(
        "shared",
        context,
        compose,
        deadline,
      );
      ended("committed");
      return results;
    } catch (error) {
      if (rejectionOf(error)) ended("rejected");
      else if (verdictOf(error, "write") === "unknown") ended("unknown");
      else ended("rolled_back");
      throw error;
    }
  }

  /** Sends a flush of a write with the fence of that moment. */
  async #attemptFenced<const B extends readonly Bound[]>(
    use: PoolUse,
    context: TransactionContext,
    compose: Compose<B>,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    const { fence, writePool } = this.#options;
    for (;;) {
      if (fence.isInDoubt) await this.#whenCertain(deadline);
      const { epoch } = fence;
      try {
        const work = { context, bound: compose(), deadline };
        return await this.attemptOn(writePool, use, work);
      } catch (error) {
        const isStopped = rejectionOf(error)?.reason === notOwnerReason;
        if (isStopped || verdictOf(error, "write") === "unknown") {
          fence.doubt(epoch);
        }
        if (!isStopped) throw error;
      }
    }
  }

  /** Waits until no flush of an earlier epoch can commit any more. */
  async #whenCertain(deadline: number): Promise<void> {
    const { fence } = this.#options;
    if (fence.isInDoubt) await fence.renew(this.#raise, deadline);
  }

  /** Many callers wait for this, so no single deadline or signal ends it. */
  readonly #raise: RunFlush = (bound) => {
    const { fencePool, operationTimeoutMs } = this.#options;
    const deadline = performance.now() + operationTimeoutMs;
    return fencePool.run(bound, "write", undefined, deadline);
  };
}
