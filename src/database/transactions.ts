/**
 * Runs transactions: one flush each (session.ts), tried again where that is
 * safe and useful.
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
 *
 * One deadline holds over all attempts, the wait for a connection included.
 * When less than the statement timeout remains, the server gets the remaining
 * time as statement_timeout (session.ts) and cancels late work itself. If the
 * server stays silent, an attempt outlives the deadline, by a second at most.
 */

import pRetry from "p-retry";
import type { StreamStorageError } from "../storage/errors.ts";
import type {
  TransactionMetrics,
  TransactionOutcome,
} from "../telemetry/transaction_metrics.ts";
import { sqlStateOf, toStorageError, verdictOf } from "./failures.ts";
import { type Fence, notOwnerReason, type RunFlush } from "./fence.ts";
import type { Pool, PoolUse } from "./pool.ts";
import type { ReadGate } from "./read_gate.ts";
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

  constructor(rejection: Rejection) {
    super(rejection.reason);
    this.rejection = rejection;
  }
}

/** What a transaction is called and how it may be stopped. */
export interface TransactionContext {
  /** For metrics and the ring, for example `writeMiniblocks`. */
  name: string;
  /** What it is about, for the ring; of a read the stream, for the gate, too. */
  tags?: string;
  signal?: AbortSignal | undefined;
  /**
   * The deadline, in the time of `performance.now()`. Default: the operation
   * timeout from now on.
   */
  deadline?: number | undefined;
  /**
   * A look for a lost write. It goes to the server that takes the writes, and
   * behind the fence: otherwise a successor could have changed what it finds, and
   * a write that was done would be reported as not done.
   */
  isFenced?: boolean;
}

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
export interface TransactionsOptions {
  readPool: Pool;
  writePool: Pool;
  fence: Fence;
  /** Raises the epoch. Callers wait for that, so it must not be a worker's. */
  fencePool: Pool;
  retry: RetryOptions;
  operationTimeoutMs: number;
  ring: TransactionRing;
  /** Keeps reads from locked tables. */
  readGate?: ReadGate;
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
  read<const B extends readonly Bound[]>(
    context: TransactionContext,
    bound: B,
  ): Promise<ResultsOf<B>> {
    return this.#run(
      { mode: "read", context, isInDoubt: () => false },
      (deadline) =>
        this.#pastGate(context, deadline, async () => {
          if (context.isFenced) {
            return await this.#look(context, bound, deadline);
          }
          const { fence } = this.#options;
          if (fence.isInDoubt) await fence.renewSoon(this.#raise);
          return await this.#attempt("read", context, bound, deadline);
        }),
    );
  }

  /** A locked table may hold up one read for each session, once: not all of them. */
  async #pastGate<T>(
    { tags, signal }: TransactionContext,
    deadline: number,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const { readGate: gate } = this.#options;
    if (gate === undefined || tags === undefined) return await attempt();
    const until = Math.min(deadline, performance.now() + gate.patienceMs);
    for (let nth = 0;; nth++) {
      if (gate.isShut(tags)) await gate.wait(tags, until, signal);
      try {
        return await attempt();
      } catch (error) {
        if (sqlStateOf(error) !== "55P03") throw error;
        await gate.met();
        if (performance.now() >= until) throw error;
        // Met twice, and not of a kind that the gate knows.
        if (nth > 0 && !gate.isShut(tags)) throw error;
      }
    }
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
    return this.#run(
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

  async #run<T>(
    { mode, context, isInDoubt }: {
      mode: "read" | "write";
      context: TransactionContext;
      isInDoubt: () => boolean;
    },
    attemptOnce: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const { retry, operationTimeoutMs, ring, metrics } = this.#options;
    const { name, signal } = context;
    let failure: unknown;
    const now = performance.now();
    const deadline = context.deadline ?? now + operationTimeoutMs;
    const attempt = async (nth: number): Promise<T> => {
      if (nth > 1) {
        ring.record(name, context.tags ?? "", "retry");
        metrics?.retried(name, nth, sqlStateOf(failure) ?? "connection_lost");
      }
      try {
        signal?.throwIfAborted();
        return await attemptOnce(deadline);
      } catch (error) {
        const rejection = rejectionOf(error);
        if (rejection) throw new RejectedError(rejection);
        failure = error;
        throw error;
      }
    };
    try {
      const result = await withRetries(attempt, {
        ...retry,
        deadline,
        signal,
        mode,
      });
      metrics?.ended({ name, mode, outcome: "committed", since: now });
      return result;
    } catch (error) {
      if (error instanceof RejectedError) {
        metrics?.ended({ name, mode, outcome: "rejected", since: now });
        throw error;
      }
      const told = toStorageError(error, {
        unknownOutcome: isInDoubt(),
        signal,
      });
      const outcome = outcomeOf(told);
      metrics?.ended({ name, mode, outcome, since: now, error: told });
      throw told;
    }
  }

  /** A flush of a write, behind the fence as it is when the flush is sent. */
  async #attemptFenced<const B extends readonly Bound[]>(
    use: PoolUse,
    context: TransactionContext,
    compose: Compose<B>,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    const { fence } = this.#options;
    for (;;) {
      if (fence.isInDoubt) await this.#whenCertain(deadline);
      const { epoch } = fence;
      try {
        return await this.#attempt(use, context, compose(), deadline);
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

  async #attempt<const B extends readonly Bound[]>(
    use: PoolUse,
    context: TransactionContext,
    bound: B,
    deadline: number,
  ): Promise<ResultsOf<B>> {
    const { readPool, writePool, ring, metrics } = this.#options;
    const tags = context.tags ?? "";
    metrics?.attempted(context.name);
    ring.record(context.name, tags, "begin");
    try {
      const pool = use === "read" ? readPool : writePool;
      const results = await pool.run(bound, use, context.signal, deadline);
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
  { attempts, minDelayMs, maxDelayMs, deadline, signal, mode }: RetryOptions & {
    deadline: number;
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
    maxRetryTime: Math.max(0, deadline - performance.now()),
    shouldRetry: ({ error }) => verdictOf(error, mode) !== "final",
    ...(signal === undefined ? {} : { signal }),
  });
}

function outcomeOf(error: StreamStorageError): TransactionOutcome {
  if (error.outcome === "unknown") return "unknown";
  return error.code === "CANCELED" ? "canceled" : "rolled_back";
}
