/**
 * Runs a store's transactions: one flush each (session.ts), tried again where
 * that is safe and useful. Reads are read_transactions.ts's.
 *
 * The error decides whether work can be tried again (failures.ts). There are
 * three cases:
 *
 * 1. Nothing was committed, and the same work may succeed now: it is sent again.
 * 2. The fence stopped a write only because its epoch has risen (fence.ts):
 *    nothing was committed, so it is sent again at once, with the new epoch. This
 *    is no failure and counts as no attempt.
 * 3. The answer to a write was lost. The epoch is raised first, which makes the
 *    lost attempt final: it has committed or never will. One look at the rows
 *    (`wasDone`) then tells which. A write that was not done is sent again as if
 *    for the first time.
 *
 * The look goes to the pool that writes, and behind the fence: what it finds, this
 * owner has left. An outcome stays unknown only if the database can't be reached
 * before the deadline, or if ownership is lost meanwhile.
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

/** A write that can be tried again after its answer was lost. */
export interface WriteContext extends TransactionContext {
  /** An earlier run of the same write has lost its answer. */
  isInDoubt?: boolean;
  /**
   * Whether the rows show that the write was done. Called only while nothing of
   * it can come any more, so the answer is final. Default: it is sent again, and
   * being done twice is being done once.
   */
  wasDone?: (() => Promise<boolean>) | undefined;
  /** Called once, before anything is sent, when it is certain that it has to be. */
  prepare?: () => Promise<void>;
}

/**
 * Puts a flush together. Called for every attempt, because the fence in it must
 * be that of the moment.
 */
export type Compose<B extends readonly Bound[]> = () => B;

/** What a {@linkcode Transactions} is made of. */
export interface TransactionsOptions extends ReadTransactionsOptions {
  writePool: Pool;
  fence: Fence;
  /** Raises the epoch. Callers wait for that, so it must not be a worker's. */
  fencePool: Pool;
}

/** Runs transactions on the pools; see the file's head. */
export class Transactions extends ReadTransactions {
  readonly #options: TransactionsOptions;

  constructor(options: TransactionsOptions) {
    super(options);
    this.#options = options;
  }

  /** What it reads may be changed by nothing that was sent before. */
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
   * Writes by one flush, tried again as needed. The results are undefined when
   * an attempt whose answer was lost has done it.
   *
   * @throws {RejectedError} a check of the statements refused.
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
        // Others' lost writes count, too: what is prepared rests on looks.
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
   * Writes of many streams by one flush, once; the driver's errors come as they
   * are.
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

  /** A flush of a write, behind the fence as it is when the flush is sent. */
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

  /** Others wait for the same, so no caller's deadline or signal ends it. */
  readonly #raise: RunFlush = (bound) => {
    const { fencePool, operationTimeoutMs } = this.#options;
    const deadline = performance.now() + operationTimeoutMs;
    return fencePool.run(bound, "write", undefined, deadline);
  };
}
